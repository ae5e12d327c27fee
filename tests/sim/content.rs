//! What messages carry: bytes that tell which message of which call they belong to.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::random::{Random, mix};

/// The greatest message.
pub(crate) const MAX_BYTES: usize = 400 * 1024;

const NOISE_BYTES: usize = 2 * 1024 * 1024;

/// Every message is a piece of this, so that to make and to check one costs no more than a copy
/// and a comparison. No two pieces of some length are alike, so bytes of another message, or of
/// another place in the same one, show.
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

/// The message at this position of a direction of a call.
pub(crate) fn content(call: u32, way: Way, position: usize, bytes: usize) -> Bytes {
    assert!(bytes <= MAX_BYTES, "a message of the plan is too large");
    let way = u64::from(way == Way::Reply);
    let place = mix(u64::from(call) << 32 | (position as u64) << 1 | way);
    let start = place as usize % (NOISE_BYTES - MAX_BYTES);
    NOISE.slice(start..start + bytes)
}
