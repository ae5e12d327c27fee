//! The details of a status. They are kept encoded, and decoded when they are first read.

use std::sync::OnceLock;

use bytes::Bytes;
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, skip_field},
};

use crate::wire;

/// A detail of a status: a protobuf message of any type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detail {
    /// The type of the message, such as `type.googleapis.com/google.rpc.RetryInfo`.
    pub type_url: String,
    /// The encoded message.
    pub value: Bytes,
}

/// The details of a status.
#[derive(Debug, Clone, Default)]
pub(crate) struct Details {
    /// The details encoded as they came; empty once others were added.
    encoded: Bytes,
    decoded: OnceLock<Vec<Detail>>,
}

/// How many received details are decoded, at most: each may take many times its encoded length.
const MAX_DETAILS: usize = 64;

impl Details {
    /// Keeps received details encoded; they are at most one packet. They are copied, because a status may
    /// be kept for long, and the buffer that they were read into may be many times as large.
    pub(crate) fn received(encoded: &[u8]) -> Self {
        Self {
            encoded: Bytes::copy_from_slice(encoded),
            decoded: OnceLock::new(),
        }
    }

    pub(crate) fn get(&self) -> &[Detail] {
        // Details that cannot be decoded are dropped; the code of the status is certain all the same.
        self.decoded
            .get_or_init(|| decode(&self.encoded).unwrap_or_default())
    }

    pub(crate) fn push(&mut self, detail: Detail) {
        self.get();
        self.encoded = Bytes::new();
        if let Some(details) = self.decoded.get_mut() {
            details.push(detail);
        }
    }

    /// The details in the form of the end packet.
    pub(crate) fn encoded(&self) -> Bytes {
        if !self.encoded.is_empty() {
            return self.encoded.clone();
        }
        let any = |detail: &Detail| prost_types::Any {
            type_url: detail.type_url.clone(),
            value: detail.value.to_vec(),
        };
        let details = self.decoded.get().map(Vec::as_slice).unwrap_or_default();
        let details = details.iter().map(any).collect();
        wire::StatusDetails { details }.encode_to_vec().into()
    }
}

/// Decodes the first entries of `StatusDetails`, one at a time.
fn decode(encoded: &Bytes) -> Result<Vec<Detail>, prost::DecodeError> {
    /// The field number of `details`.
    const DETAILS: u32 = 1;
    let mut rest = encoded.clone();
    let mut details = Vec::new();
    while !rest.is_empty() && details.len() < MAX_DETAILS {
        let (number, wire_type) = decode_key(&mut rest)?;
        if (number, wire_type) != (DETAILS, WireType::LengthDelimited) {
            skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
            continue;
        }
        let any = prost_types::Any::decode_length_delimited(&mut rest)?;
        details.push(Detail {
            type_url: any.type_url,
            value: any.value.into(),
        });
    }
    Ok(details)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Detail, Details, MAX_DETAILS};

    fn detail(name: &str) -> Detail {
        Detail {
            type_url: name.to_owned(),
            value: Bytes::from_static(b"value"),
        }
    }

    #[test]
    fn what_came_is_decoded_when_it_is_asked_for() {
        let mut sent = Details::default();
        sent.push(detail("a"));
        sent.push(detail("b"));
        let mut received = Details::received(&sent.encoded());
        assert!(received.decoded.get().is_none());
        // Passing the details on does not decode them.
        assert_eq!(received.encoded(), sent.encoded());
        assert!(received.decoded.get().is_none());
        assert_eq!(received.get(), [detail("a"), detail("b")]);
        received.push(detail("c"));
        let more = Details::received(&received.encoded());
        assert_eq!(more.get(), [detail("a"), detail("b"), detail("c")]);
    }

    #[test]
    fn of_many_details_the_first_are_decoded() {
        let many = [0x0A, 0].repeat(60_000);
        let received = Details::received(&many);
        assert_eq!(received.get().len(), MAX_DETAILS);
        assert_eq!(received.encoded().len(), many.len());
    }

    #[test]
    fn details_that_cannot_be_read_are_none() {
        for wrong in [&[0x0A, 200][..], &[0x0A, 1, 0x0A], &[0xFF; 11]] {
            assert!(Details::received(wrong).get().is_empty(), "{wrong:?}");
        }
        // A field of a later version is skipped.
        assert_eq!(Details::received(&[0x10, 7, 0x0A, 0]).get().len(), 1);
    }
}
