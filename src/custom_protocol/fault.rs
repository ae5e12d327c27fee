//! The reasons for which a connection with a custom protocol is closed.

use thiserror::Error;
use wawo_protocol::CloseCode;

use crate::status::BoxError;

/// A reason to close a connection. [`Peer::closed`](crate::Peer::closed) returns its text.
#[derive(Debug, Error)]
pub(crate) enum ProtocolFault {
    #[error("the codec cannot read what came: {0}")]
    Decode(BoxError),
    #[error("the codec cannot write a packet of this side: {0}")]
    Encode(BoxError),
    #[error(
        "{0} bytes came without a whole packet, which has no more (CustomProtocol::max_packet_bytes)"
    )]
    NoPacket(usize),
    #[error("the other end closed the transport within a packet, {0} bytes after its start")]
    CutOff(usize),
    #[error("the other end closed the transport")]
    Ended,
    #[error("call {0} was started while a call with this number was in flight")]
    CallInFlight(u32),
    #[error("a {kind} for call {call}, which this side never made")]
    UnknownCall { kind: &'static str, call: u32 },
    #[error("a failure with the code Ok for call {0}; a failure needs another code")]
    FailureOk(u32),
    #[error(
        "a one-way message of {length} bytes; this side takes at most {max} (max_message_bytes)"
    )]
    OneWayTooLarge { length: usize, max: u32 },
}

impl ProtocolFault {
    /// The code of the close packet.
    pub(crate) fn close_code(&self) -> CloseCode {
        match self {
            Self::Ended => CloseCode::Normal,
            Self::Encode(_) => CloseCode::Internal,
            Self::NoPacket(_) | Self::OneWayTooLarge { .. } => CloseCode::LimitExceeded,
            Self::Decode(_)
            | Self::CutOff(_)
            | Self::CallInFlight(_)
            | Self::UnknownCall { .. }
            | Self::FailureOk(_) => CloseCode::ProtocolViolation,
        }
    }
}
