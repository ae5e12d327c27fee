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
    /// Whether more than one request may be sent.
    pub(crate) streams_requests: bool,
    /// Whether the call is made by no handler and is not one-way: such calls leave some slots to
    /// the calls of handlers.
    pub(crate) is_outer: bool,
    /// The position of the call's first byte in the output of the connection, counted from its
    /// beginning.
    pub(crate) position: u64,
    /// The number of calls that this side has sent, this one included; a drain packet refers to it.
    pub(crate) ordinal: u64,
    /// Metadata of a reply whose first message is not whole yet.
    pub(crate) opening: Option<Metadata>,
}

impl<T> Caller<T> {
    /// A call that begins at `position` of the output and is the `ordinal`th of this side.
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

    /// The words that say which deadline the call has passed.
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
    /// The event for the driver, kept until the first message is whole.
    pub(crate) opening: Option<Box<InboundCall>>,
    /// The timeout that came with it.
    pub(crate) timeout_ms: Option<u32>,
    /// The credit that our reply begins with: the initial credit, and what the caller has granted
    /// since.
    pub(crate) reply_credit: u32,
    /// The memory of this side that the call takes.
    pub(crate) share: Share,
}
