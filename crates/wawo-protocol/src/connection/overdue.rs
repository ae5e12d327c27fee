//! Calls that take too long, and why this side ends them.

use std::time::{Duration, Instant};

use crate::{call::Sending, code::Code, time::after};

/// Why a call is ended by this side.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Overdue {
    /// Its deadline has passed.
    Deadline,
    /// It had something to send, and for so long no credit for it.
    Stalled(Duration),
}

impl Overdue {
    /// When a call will be overdue, and why.
    pub(crate) fn when(
        deadline: Option<Instant>,
        sending: Option<&Sending>,
        stall_timeout: Duration,
    ) -> Option<(Instant, Self)> {
        let deadline = deadline.map(|at| (at, Self::Deadline));
        let stalled = sending.and_then(|sending| sending.stalled);
        let stalled =
            stalled.map(|since| (after(since, stall_timeout), Self::Stalled(stall_timeout)));
        let both = [deadline, stalled].into_iter().flatten();
        both.min_by_key(|(at, _)| *at)
    }

    pub(crate) fn code(self) -> Code {
        match self {
            Self::Deadline => Code::DeadlineExceeded,
            Self::Stalled(_) => Code::ResourceExhausted,
        }
    }

    /// What the other side hears; for a deadline, what a caller hears of its callee.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Deadline => "the deadline passed before the call was answered".to_owned(),
            Self::Stalled(timeout) => {
                format!("the peer gave no credit for the call within {timeout:?} (stall_timeout)")
            }
        }
    }
}
