//! The contents of messages: bytes that identify the call and the message.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::random::{Random, mix};

/// The size of the largest message.
pub(crate) const MAX_BYTES: usize = 400 * 1024;

const NOISE_BYTES: usize = 2 * 1024 * 1024;

/// Every message is a slice of this, so making and checking a message costs only a copy and a
/// comparison. No two slices of some length are equal, so bytes of another message, or from another
/// offset of the same message, are detected.
static NOISE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut random = Random::new(1);
    let words = (0..NOISE_BYTES / 8).map(|_| random.next().to_be_bytes());
    words.flatten().collect::<Vec<u8>>().into()
});

/// A direction of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Request,
    Reply,
}

/// The message at this position in a direction of a call.
pub(crate) fn content(call: u32, way: Way, position: usize, bytes: usize) -> Bytes {
    assert!(bytes <= MAX_BYTES, "a message of the plan is too large");
    let way = u64::from(way == Way::Reply);
    let place = mix(u64::from(call) << 32 | (position as u64) << 1 | way);
    let start = place as usize % (NOISE_BYTES - MAX_BYTES);
    NOISE.slice(start..start + bytes)
}
