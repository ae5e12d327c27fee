//! Frames: a header of three numbers, and a message.

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use harness::MAX_MESSAGE_BYTES;
use prost::Message;

/// The id that assigns a reply to its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallId(pub(crate) u32);

/// The operation that a call requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Echo = 1,
    Take = 2,
    Feed = 3,
}

/// A frame that was read.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) id: CallId,
    pub(crate) method: Method,
    pub(crate) body: Bytes,
}

/// Appends a frame to `output`.
pub(crate) fn put(output: &mut BytesMut, id: CallId, method: Method, message: &impl Message) {
    let body_bytes = message.encoded_len();
    output.reserve(HEAD_BYTES + body_bytes);
    output.put_u32(body_bytes as u32);
    output.put_u32(id.0);
    output.put_u32(method as u32);
    message
        .encode(output)
        .expect("room for the message was reserved");
}

/// Takes the first frame from `input`. `None` if it is incomplete; then this makes room for the
/// rest of it.
///
/// # Errors
///
/// The frame is longer than the largest message, or its method is unknown.
pub(crate) fn take(input: &mut BytesMut) -> Result<Option<Frame>> {
    let Some(mut head) = input.get(..HEAD_BYTES) else {
        input.reserve(READ_BYTES);
        return Ok(None);
    };
    let body_bytes = head.get_u32() as usize;
    ensure!(
        body_bytes <= MAX_MESSAGE_BYTES,
        "a body of {body_bytes} bytes"
    );
    let id = CallId(head.get_u32());
    let found = head.get_u32();
    let known = [Method::Echo, Method::Take, Method::Feed];
    let method = known.into_iter().find(|known| *known as u32 == found);
    let method = method.with_context(|| format!("method {found} is unknown"))?;
    let missing = (HEAD_BYTES + body_bytes).saturating_sub(input.len());
    if missing > 0 {
        input.reserve(missing.max(READ_BYTES));
        return Ok(None);
    }
    let mut frame = input.split_to(HEAD_BYTES + body_bytes);
    frame.advance(HEAD_BYTES);
    Ok(Some(Frame {
        id,
        method,
        body: frame.freeze(),
    }))
}

const HEAD_BYTES: usize = 12;
/// The minimum room for a read.
const READ_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use prost::Message as _;

    use super::{CallId, Method, put, take};
    use crate::Message;

    #[test]
    fn complete_frames_can_be_taken() {
        let data = Bytes::from_static(b"payload");
        let mut whole = BytesMut::new();
        put(&mut whole, CallId(7), Method::Take, &Message { data });
        let mut input = BytesMut::from(&whole[..whole.len() - 1]);
        assert!(take(&mut input).unwrap().is_none());
        input.extend_from_slice(&whole[whole.len() - 1..]);
        let frame = take(&mut input).unwrap().unwrap();
        assert_eq!((frame.id, frame.method), (CallId(7), Method::Take));
        assert_eq!(&Message::decode(frame.body).unwrap().data[..], b"payload");
        assert!(take(&mut input).unwrap().is_none());
    }

    #[test]
    fn oversized_frames_and_unknown_methods_are_refused() {
        assert!(take(&mut BytesMut::from(&[0xff; 12][..])).is_err());
        assert!(take(&mut BytesMut::from(&[0; 12][..])).is_err());
    }
}
