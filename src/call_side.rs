//! The two sides of a call.

use wawo_protocol::Code;

/// The side of a call on which it is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "a call has two sides")]
pub enum CallSide {
    /// The side that makes the call.
    Client,
    /// The side that serves it.
    Server,
}

impl CallSide {
    /// The name in metrics and logs: `client` or `server`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    /// Whether a call that ends with this code counts as failed in metrics and traces. OpenTelemetry's
    /// conventions say: on the client with every code but [`Code::Ok`]; on the server only if the fault is
    /// there, so not if a request was wrong or its caller cancelled it.
    pub const fn is_failure(self, code: Code) -> bool {
        match self {
            Self::Client => !matches!(code, Code::Ok),
            Self::Server => matches!(
                code,
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use wawo_protocol::Code;

    use super::CallSide;

    #[test]
    fn a_wrong_request_is_a_failure_on_the_client_only() {
        for side in [CallSide::Client, CallSide::Server] {
            assert!(!side.is_failure(Code::Ok));
            assert!(side.is_failure(Code::Internal));
            assert_eq!(side.is_failure(Code::NotFound), side == CallSide::Client);
            assert_eq!(side.is_failure(Code::Cancelled), side == CallSide::Client);
        }
    }
}
