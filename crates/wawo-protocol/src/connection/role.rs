//! The parts of a call that only its caller, or only its callee, keeps.

use crate::{
    call::Call,
    config::Config,
    connection::{
        event::{InboundCall, NewCall},
        load::Share,
        timeout_cause::DeadlineSource,
    },
    metadata::Metadata,
};

/// The part of a call that only a caller keeps.
#[derive(Debug)]
pub(crate) struct Caller<T> {
    /// `None` once the call was cancelled, and if it is one-way.
    pub(crate) token: Option<T>,
    pub(crate) deadline_source: DeadlineSource,
    /// More than one request may go out.
    pub(crate) streams_requests: bool,
    /// No handler makes it, and somebody waits for it.
    pub(crate) is_outer: bool,
    /// Where the call begins in all that this connection has sent, in bytes.
    pub(crate) position: u64,
    /// The number of calls that were sent before it, and itself.
    pub(crate) ordinal: u64,
    /// Metadata of a reply whose first message is not whole yet.
    pub(crate) opening: Option<Metadata>,
}

impl<T> Caller<T> {
    /// A call that begins at `position` of the output, as the `ordinal`th.
    #[inline]
    pub(crate) fn new(call: &NewCall, token: Option<T>, position: u64, ordinal: u64) -> Self {
        Self {
            is_outer: call.depth == 0 && token.is_some(),
            token,
            deadline_source: call.deadline_source,
            streams_requests: !call.end,
            position,
            ordinal,
            opening: None,
        }
    }

    /// The deadline that it has passed, in words.
    pub(crate) fn deadline_text(&self, call: &Call, config: &Config) -> String {
        let is_sending = self.streams_requests && call.send_half.is_some();
        let is_under_way = call.state.has_begun() || is_sending;
        let deadline = call.deadline.filter(|_| is_under_way);
        let under_way = deadline.map(|at| at.saturating_duration_since(call.began));
        self.deadline_source.passed(under_way, config)
    }
}

/// The part of a call that only a callee keeps.
#[derive(Debug)]
pub(crate) struct Callee {
    /// The event that tells the driver, until the first message is whole.
    pub(crate) opening: Option<Box<InboundCall>>,
    /// The timeout that came with it.
    pub(crate) timeout_ms: Option<u32>,
    /// The credit that our reply begins with: its caller may have granted more before it.
    pub(crate) reply_credit: u32,
    /// The memory of this side that the call takes.
    pub(crate) share: Share,
}
