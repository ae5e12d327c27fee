//! The lines of requests and callers that wait for room in a mailbox.

use std::{collections::BTreeMap, mem, sync::Arc, task::Waker, time::Duration};

use crate::{
    connection::mailbox::command::PlainRequest,
    request::Request,
    response_future::ResponseSlot,
    status::{Delivery, Status},
};

/// A kind of request. Requests of the same kind wait for room in one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Calls and one-way messages that are not made by a handler.
    Outer,
    /// One-way messages that handlers send: they wait for credit, but not for calls to end.
    NestedMessage,
    /// Calls that are made by handlers.
    Nested,
    /// Calls that are made by handlers of such calls: they wait only for the driver.
    Deep,
}

impl Line {
    /// All lines. Those that depend on the fewest others come first.
    const ALL: [Self; 4] = [Self::Deep, Self::Nested, Self::NestedMessage, Self::Outer];

    pub(super) fn of(request: &Request) -> Self {
        match (request.is_one_way(), request.head().call_depth) {
            (_, 0) => Self::Outer,
            (true, _) => Self::NestedMessage,
            (false, 1) => Self::Nested,
            (false, _) => Self::Deep,
        }
    }

    /// The lines of requests that a handler at this call depth makes; at depth 0, of those that no
    /// handler makes.
    pub(super) fn of_depth(call_depth: u32) -> &'static [Self] {
        match call_depth {
            0 => &[Self::Outer],
            1 => &[Self::Nested, Self::NestedMessage],
            _ => &[Self::Deep, Self::NestedMessage],
        }
    }
}

/// A call that is left in a mailbox.
pub(crate) trait MailboxCall {
    /// The line in which it waits for room.
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

/// How many commands a driver takes, of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Calls and one-way messages that are not made by a handler.
    pub(crate) outer: usize,
    /// Calls that are made by handlers.
    pub(crate) nested: usize,
    /// One-way messages that handlers send.
    pub(crate) nested_messages: usize,
    /// Calls that are made by handlers of such calls.
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

/// The lines of a mailbox, each in the order in which its entries came.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The entries, by [`Line`] and by the number of the place.
    places: [BTreeMap<u64, LineEntry>; 4],
    /// The number of places that are taken.
    len: usize,
    /// The number of the place that was given last.
    last: u64,
}

/// An entry in a line.
#[derive(Debug)]
pub(super) enum LineEntry {
    /// A request, which becomes a command when there is room.
    Request(Box<WaitingRequest>),
    /// A caller that will make a request, and is woken when there is room.
    Caller(Waker),
}

impl Lines {
    /// Adds a request at the end of a line; returns the number of its place.
    pub(super) fn push(&mut self, line: Line, request: WaitingRequest) -> u64 {
        self.last += 1;
        self.insert(line, LineEntry::Request(Box::new(request)));
        self.last
    }

    /// Adds a caller at the end of each of these lines; returns the number of its places.
    pub(super) fn push_caller(&mut self, lines: &[Line], waker: &Waker) -> u64 {
        self.last += 1;
        for line in lines {
            self.insert(*line, LineEntry::Caller(waker.clone()));
        }
        self.last
    }

    fn insert(&mut self, line: Line, entry: LineEntry) {
        self.places[line as usize].insert(self.last, entry);
        self.len += 1;
    }

    /// Removes the entry at a place; `None` if it was admitted before.
    pub(super) fn remove(&mut self, line: Line, number: u64) -> Option<LineEntry> {
        let entry = self.places[line as usize].remove(&number)?;
        self.len -= 1;
        Some(entry)
    }

    /// Removes the entries of a caller. The caller of this function drops them after it has released its
    /// locks, because the drop of a waker runs foreign code.
    pub(super) fn remove_caller(&mut self, number: u64) -> [Option<LineEntry>; 4] {
        Line::ALL.map(|line| self.remove(line, number))
    }

    /// Removes the entries of all callers; returns their wakers.
    pub(super) fn take_callers(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for line in &mut self.places {
            for (number, entry) in mem::take(line) {
                match entry {
                    LineEntry::Caller(waker) => wakers.push(waker),
                    request => {
                        line.insert(number, request);
                    }
                }
            }
        }
        self.len -= wakers.len();
        wakers
    }

    /// Whether a caller stands in a line.
    pub(super) fn has_caller(&self, number: u64) -> bool {
        self.places.iter().any(|line| line.contains_key(&number))
    }

    /// Replaces the waker of a caller that stands in line. Returns the old ones, to be dropped without
    /// locks.
    pub(super) fn replace_waker(&mut self, number: u64, waker: &Waker) -> [Option<Waker>; 4] {
        self.places
            .each_mut()
            .map(|line| match line.get_mut(&number) {
                Some(LineEntry::Caller(old)) if !old.will_wake(waker) => {
                    Some(mem::replace(old, waker.clone()))
                }
                _ => None,
            })
    }

    /// The first line whose first entry has room.
    pub(super) fn first(&self, has_room: impl Fn(Line, usize) -> bool) -> Option<Line> {
        // Most often nobody waits.
        if self.len == 0 {
            return None;
        }
        let first_has_room = |line: &Line| {
            let first = self.places[*line as usize].first_key_value();
            first.is_some_and(|(_, entry)| has_room(*line, entry.bytes()))
        };
        Line::ALL.into_iter().find(first_has_room)
    }

    /// Takes the first entry out of a line. A caller leaves its other lines too.
    pub(super) fn pop(&mut self, line: Line) -> Option<LineEntry> {
        let (number, entry) = self.places[line as usize].pop_first()?;
        self.len -= 1;
        if matches!(entry, LineEntry::Caller(_)) {
            // These wakers are clones of the one in `entry`, so that dropping them runs no foreign code.
            self.remove_caller(number);
        }
        Some(entry)
    }

    /// Whether nobody stands in this line.
    pub(super) fn is_free(&self, line: Line) -> bool {
        self.len == 0 || self.places[line as usize].is_empty()
    }

    /// All requests that wait.
    pub(super) fn requests(&self) -> impl Iterator<Item = &WaitingRequest> {
        let entries = self.places.iter().flat_map(BTreeMap::values);
        entries.filter_map(|entry| match entry {
            LineEntry::Request(waiting) => Some(&**waiting),
            LineEntry::Caller(_) => None,
        })
    }

    /// All entries that wait.
    pub(super) fn into_entries(self) -> impl Iterator<Item = LineEntry> {
        self.places.into_iter().flat_map(BTreeMap::into_values)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[cfg(test)]
    pub(super) fn request_mut(&mut self, line: Line, number: u64) -> &mut Request {
        match self.places[line as usize].get_mut(&number) {
            Some(LineEntry::Request(waiting)) => &mut waiting.request,
            other => panic!("no request stands there: {other:?}"),
        }
    }
}

impl LineEntry {
    /// How many message bytes it needs room for. A caller needs room for the shortest message.
    fn bytes(&self) -> usize {
        match self {
            Self::Request(waiting) => waiting.bytes,
            Self::Caller(_) => MIN_ROOM_BYTES,
        }
    }
}

/// The number of message bytes that have room whenever a message has room.
pub(super) const MIN_ROOM_BYTES: usize = 1;

/// A request that waits for room.
#[derive(Debug)]
pub(super) struct WaitingRequest {
    pub(super) request: Request,
    /// The length of the message, in bytes.
    pub(super) bytes: usize,
    /// Receives the reply to a call. For a one-way message it is completed when there is room.
    pub(super) slot: Arc<ResponseSlot>,
}

/// The status of a request whose deadline, from this setting, passed before there was room.
pub(crate) fn no_room(setting: &str) -> Status {
    let text = format!(
        "the deadline passed while the call waited for the connection to take it ({setting})"
    );
    Status::deadline_exceeded(text).with_delivery(Delivery::NotSent)
}

/// The status of a call without a deadline that has waited for room for this long.
pub(crate) fn no_room_within(stall_timeout: Duration) -> Status {
    let text = format!(
        "the connection took no more calls within {stall_timeout:?} (stall_timeout): others wait for \
         the limits of the peer"
    );
    Status::resource_exhausted(text).with_delivery(Delivery::NotSent)
}
