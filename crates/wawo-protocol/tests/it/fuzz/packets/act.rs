//! The actions of a user, drawn from bytes.

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use wawo_protocol::{CallId, Code, MIN_CREDIT_BYTES, Metadata, packet::End};

/// An action of the machine's user, mostly in one of its calls.
#[derive(Debug, Arbitrary)]
pub(crate) enum Act {
    Start {
        message: Option<Length>,
        end: bool,
        timeout_ms: Option<u8>,
    },
    Note(Length),
    CancelWaiting(u8),
    Cancel(Which),
    Finish(Which),
    Reply(Which, Length),
    OpenReply(Which),
    /// In a call of ours or theirs.
    Send(bool, Which, Length, bool),
    End(Which, u8, bool),
    Consume(bool, Which, bool, Length),
    Served,
}

/// An index of the user's calls, modulo their number, or any call.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) struct Which(pub(crate) u8);

/// A number of message bytes: small, several packets long, or about as long as the credit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length(pub(crate) usize);

impl<'a> Arbitrary<'a> for Length {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let byte = usize::from(u8::arbitrary(input)?);
        Ok(Self(match byte {
            0..=199 => byte % 16,
            200..=227 => (byte - 199) * 1000,
            _ => MIN_CREDIT_BYTES as usize + byte - 242,
        }))
    }
}

impl Length {
    pub(crate) fn bytes(self) -> Bytes {
        static ZEROS: [u8; 1 << 17] = [0; 1 << 17];
        Bytes::from_static(&ZEROS[..self.0])
    }
}

/// An end, with the code of success in two of three cases.
pub(crate) fn end(call: CallId, code: u8, text: bool) -> End {
    let code = code.checked_sub(170).map_or(0, |code| code % 18);
    End {
        call,
        code: Code::from_wire(code.into()),
        refused: false,
        metadata: Metadata::new(),
        text: if text {
            "words".to_owned()
        } else {
            String::new()
        },
        details: Bytes::new(),
    }
}
