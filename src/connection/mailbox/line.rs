//! The lines of those who wait for room in a mailbox.

use std::{sync::Arc, time::Duration};

use crate::{
    connection::mailbox::command::PlainRequest,
    request::Request,
    response_future::ResponseSlot,
    status::{Delivery, Status},
};

/// Which requests wait for room behind each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Calls and one-way messages that no handler makes.
    Outer,
    /// One-way messages that handlers send: they wait for credit, not for the end of calls.
    NestedMessage,
    /// Calls that handlers make.
    Nested,
    /// Calls that handlers of such calls make: they wait for nothing but the driver.
    Deep,
}

impl Line {
    /// Those who wait for least come first.
    pub(super) const ALL: [Self; 4] = [Self::Deep, Self::Nested, Self::NestedMessage, Self::Outer];

    pub(super) fn of(request: &Request) -> Self {
        match (request.is_one_way(), request.head().call_depth) {
            (_, 0) => Self::Outer,
            (true, _) => Self::NestedMessage,
            (false, 1) => Self::Nested,
            (false, _) => Self::Deep,
        }
    }
}

/// A call that is left in a mailbox.
pub(crate) trait MailboxCall {
    /// Where it waits for room.
    fn line(&self) -> Line;
}

impl MailboxCall for Request {
    fn line(&self) -> Line {
        Line::of(self)
    }
}

impl MailboxCall for PlainRequest {
    fn line(&self) -> Line {
        Line::Outer
    }
}

/// How many commands a driver would take, of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Calls and one-way messages that no handler makes.
    pub(crate) outer: usize,
    /// Calls that handlers make.
    pub(crate) nested: usize,
    /// One-way messages that handlers send.
    pub(crate) nested_messages: usize,
    /// Calls that handlers of such calls make.
    pub(crate) deep: usize,
}

impl Capacity {
    pub(crate) const NONE: Self = Self::all(0);
    pub(crate) const ANY: Self = Self::all(usize::MAX);

    pub(super) const fn all(commands: usize) -> Self {
        Self {
            outer: commands,
            nested: commands,
            nested_messages: commands,
            deep: commands,
        }
    }

    pub(super) fn of(&self, line: Line) -> usize {
        match line {
            Line::Outer => self.outer,
            Line::NestedMessage => self.nested_messages,
            Line::Nested => self.nested,
            Line::Deep => self.deep,
        }
    }
}

/// A request that waits for room.
#[derive(Debug)]
pub(super) struct WaitingRequest {
    pub(super) request: Request,
    /// Message bytes.
    pub(super) bytes: usize,
    /// For the answer to a call. A one-way message is answered when there is room for it.
    pub(super) slot: Arc<ResponseSlot>,
}

/// The deadline, which is from this setting, has passed before there was room.
pub(crate) fn no_room(setting: &str) -> Status {
    let text = format!(
        "the deadline passed while the call waited for the connection to take it ({setting})"
    );
    Status::deadline_exceeded(text).with_delivery(Delivery::NotSent)
}

/// A call without a deadline has waited for room for this long.
pub(crate) fn no_room_within(stall_timeout: Duration) -> Status {
    let text = format!(
        "the connection took no more calls within {stall_timeout:?} (stall_timeout): others wait for \
         the limits of the peer"
    );
    Status::resource_exhausted(text).with_delivery(Delivery::NotSent)
}
