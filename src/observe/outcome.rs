//! The end of a call, before it is reported.

use wawo_protocol::Code;

use crate::status::{Delivery, Result, Status};

/// The outcome of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallOutcome<'a> {
    pub(crate) code: Code,
    pub(crate) text: &'a str,
    pub(crate) delivery: Option<Delivery>,
    pub(crate) is_panic: bool,
    /// The limit of this side that refused the call.
    pub(crate) limit: Option<&'static str>,
    /// How often the call was sent, or tried to be.
    pub(crate) attempts: u32,
}

impl<'a> CallOutcome<'a> {
    /// A call that succeeded.
    pub(crate) const OK: CallOutcome<'static> = CallOutcome::of_code(Code::Ok, "");

    /// A call that ended with this code; no status says more.
    pub(crate) const fn of_code(code: Code, text: &'a str) -> Self {
        Self {
            code,
            text,
            delivery: None,
            is_panic: false,
            limit: None,
            attempts: 1,
        }
    }

    /// A call that ended with this result.
    pub(crate) fn of<T>(result: &'a Result<T>) -> Self {
        result.as_ref().map_or_else(Self::failed, |_| Self::OK)
    }

    /// A call that ended with this status.
    pub(crate) fn failed(status: &'a Status) -> Self {
        Self {
            code: status.code(),
            text: status.message(),
            delivery: Some(status.delivery()),
            is_panic: status.is_panic(),
            limit: status.limit(),
            attempts: 1,
        }
    }
}
