//! How a call or a connection ended, as numbers on the wire.

use std::fmt;

/// The outcome of a call. The numbers and their meaning are gRPC's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "gRPC fixed this set; unknown numbers read as Unknown"
)]
pub enum Code {
    /// The call succeeded.
    Ok = 0,
    /// The caller no longer wanted the reply.
    Cancelled = 1,
    /// An error that has no better code here.
    Unknown = 2,
    /// The request is wrong, whatever the state of the system.
    InvalidArgument = 3,
    /// The time for the call was up.
    DeadlineExceeded = 4,
    /// The thing that was asked for does not exist.
    NotFound = 5,
    /// The thing that should be made exists already.
    AlreadyExists = 6,
    /// The caller is known but may not do this.
    PermissionDenied = 7,
    /// A limit or quota is used up.
    ResourceExhausted = 8,
    /// The system is not in the state that the request needs.
    FailedPrecondition = 9,
    /// The work was stopped, for example by a conflict with other work.
    Aborted = 10,
    /// Past the end of a valid range.
    OutOfRange = 11,
    /// No such service or method here, or not with this shape.
    Unimplemented = 12,
    /// A fault on the side that served the call.
    Internal = 13,
    /// The other side cannot be reached or takes no calls now.
    Unavailable = 14,
    /// Data is lost or damaged for good.
    DataLoss = 15,
    /// The caller did not prove who it is.
    Unauthenticated = 16,
}

impl Code {
    /// The code with this number; a number that gRPC does not define reads as [`Code::Unknown`].
    pub const fn from_wire(number: u16) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Cancelled,
            3 => Self::InvalidArgument,
            4 => Self::DeadlineExceeded,
            5 => Self::NotFound,
            6 => Self::AlreadyExists,
            7 => Self::PermissionDenied,
            8 => Self::ResourceExhausted,
            9 => Self::FailedPrecondition,
            10 => Self::Aborted,
            11 => Self::OutOfRange,
            12 => Self::Unimplemented,
            13 => Self::Internal,
            14 => Self::Unavailable,
            15 => Self::DataLoss,
            16 => Self::Unauthenticated,
            _ => Self::Unknown,
        }
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u16 {
        self as u16
    }

    /// The name that gRPC gives it, such as `DEADLINE_EXCEEDED`: for metrics, traces and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// The application closed it, or has drained it.
    Normal,
    /// The other side broke a rule of the protocol; the text names it.
    ProtocolViolation,
    /// The other side went over an announced limit; the text names it.
    LimitExceeded,
    /// The other side speaks no version of the protocol that this side knows.
    VersionUnsupported,
    /// No hello, or no pong, came in time.
    TimedOut,
    /// A fault on the side that closed.
    Internal,
    /// The credentials of the other side were not accepted; the text says why.
    Unauthenticated,
    /// The session that the other side wants to join or resume is not known. Reserved: no side of version
    /// 1 sends it yet.
    SessionUnknown,
    /// This side takes connections over TLS only.
    SpeakTls,
    /// A number that this version does not know.
    Other(u16),
}

impl CloseCode {
    /// The code with this number.
    pub const fn from_wire(number: u16) -> Self {
        match number {
            0 => Self::Normal,
            1 => Self::ProtocolViolation,
            2 => Self::LimitExceeded,
            3 => Self::VersionUnsupported,
            4 => Self::TimedOut,
            5 => Self::Internal,
            6 => Self::Unauthenticated,
            7 => Self::SessionUnknown,
            8 => Self::SpeakTls,
            other => Self::Other(other),
        }
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u16 {
        match self {
            Self::Normal => 0,
            Self::ProtocolViolation => 1,
            Self::LimitExceeded => 2,
            Self::VersionUnsupported => 3,
            Self::TimedOut => 4,
            Self::Internal => 5,
            Self::Unauthenticated => 6,
            Self::SessionUnknown => 7,
            Self::SpeakTls => 8,
            Self::Other(number) => number,
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::ProtocolViolation => f.write_str("protocol violation"),
            Self::LimitExceeded => f.write_str("limit exceeded"),
            Self::VersionUnsupported => f.write_str("version unsupported"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Internal => f.write_str("internal fault"),
            Self::Unauthenticated => f.write_str("unauthenticated"),
            Self::SessionUnknown => f.write_str("session unknown"),
            Self::SpeakTls => f.write_str("speak TLS"),
            Self::Other(number) => write!(f, "close code {number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn the_name_of_a_code_is_that_of_grpc() {
        assert_eq!(Code::Ok.name(), "OK");
        assert_eq!(Code::DeadlineExceeded.name(), "DEADLINE_EXCEEDED");
        for code in (0..=16).map(Code::from_wire) {
            let words = code.name().replace('_', "").to_lowercase();
            assert_eq!(words, code.to_string().to_lowercase());
        }
    }
}
