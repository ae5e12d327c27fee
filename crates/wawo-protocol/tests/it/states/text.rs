//! The messages of the state vectors: all are `Text`, with one string as field 1. wawo-protocol has no code
//! for protobuf.

use bytes::Bytes;

/// The text of a message `Text`; `None` if the message is none.
pub(super) fn decode(message: &[u8]) -> Option<String> {
    let Some((tag, rest)) = message.split_first() else {
        return Some(String::new());
    };
    let (mut length, mut digits) = (0_usize, 0);
    loop {
        let byte = *rest.get(digits)?;
        length |= usize::from(byte & 0x7f) << (7 * digits);
        digits += 1;
        if byte < 0x80 {
            break;
        }
    }
    let text = rest[digits..].to_vec();
    (*tag == 0x0a && text.len() == length).then(|| String::from_utf8(text).expect("ASCII"))
}

/// A message `Text`.
pub(super) fn encode(text: &str) -> Bytes {
    let mut bytes = Vec::new();
    if !text.is_empty() {
        bytes.push(0x0a);
        let mut length = text.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.into()
}
