//! The events of a simulation, in order.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use wawo::{Code, Delivery, Status};

use crate::{
    content::Way,
    plan::{Fault, Side},
    random::mix,
};

/// All parts of a simulation write it. It is checked after the end.
#[derive(Debug, Clone)]
pub(crate) struct History(Arc<Mutex<Log>>);

#[derive(Debug)]
struct Log {
    began: Instant,
    entries: Vec<Entry>,
    moved: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// The time since the simulation began.
    pub(crate) at: Duration,
    pub(crate) event: Event,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// An event of the call with this number.
    Call(u32, CallEvent),
    /// An event of the link with this number.
    Link(u32, LinkEvent),
    ServerUp,
    ServerDown,
    /// No further calls are made; all parts are dropped.
    Closing,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LinkEvent {
    /// A client has opened the link, over which the connection speaks TLS or does not.
    Opened { client: usize, is_tls: bool },
    /// A fault struck the link.
    Struck(Struck),
    /// The connection over the link is over for one side.
    Over { side: Side, why: String },
}

/// The kind of a fault on a link, as far as the checker needs it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Struck {
    Cut,
    HalfOpen,
    Corrupt,
    Stalled,
    Closed,
    ServerDown,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CallEvent {
    /// The caller had no connection, so the call was not made.
    NotMade,
    /// The call was made over this link.
    Made { link: u32 },
    /// A handler began to work on the call.
    Begun,
    /// The handler ended by itself.
    Done,
    /// The handler was dropped before its end.
    Dropped,
    /// A message arrived, with the right content or not.
    Received {
        way: Way,
        position: usize,
        intact: bool,
    },
    /// The handler reached the end of the requests.
    RequestsEnded,
    /// The call is over for its caller.
    Over(Outcome),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Outcome {
    /// The reply, or all replies, came.
    Ok,
    Failed(Code, Delivery),
    /// The caller dropped the call.
    GivenUp,
}

impl History {
    /// Creates a history that begins now.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Log {
            began: Instant::now(),
            entries: Vec::new(),
            moved: 0,
        })))
    }

    pub(crate) fn add(&self, event: Event) {
        let mut log = self.lock();
        let at = log.began.elapsed();
        log.entries.push(Entry { at, event });
    }

    pub(crate) fn call(&self, call: u32, event: CallEvent) {
        self.add(Event::Call(call, event));
    }

    pub(crate) fn link(&self, link: u32, event: LinkEvent) {
        self.add(Event::Link(link, event));
    }

    /// Records that bytes were read from a link. There are too many of these events to keep each.
    pub(crate) fn moved(&self, link: u32, side: Side, bytes: usize) {
        let mut log = self.lock();
        let at = log.began.elapsed().as_nanos() as u64;
        let side = u64::from(side == Side::Client);
        log.moved = mix(log.moved ^ at ^ mix(u64::from(link) << 33 | side << 32 | bytes as u64));
    }

    /// Takes all entries, and a digest of all bytes that moved.
    pub(crate) fn take(&self) -> (Vec<Entry>, u64) {
        let mut log = self.lock();
        (std::mem::take(&mut log.entries), log.moved)
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        // A handler that panics as planned holds no lock, so the log is consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<&Fault> for Struck {
    fn from(fault: &Fault) -> Self {
        match fault {
            Fault::Cut { .. } => Self::Cut,
            Fault::HalfOpen { .. } => Self::HalfOpen,
            Fault::Corrupt { .. } => Self::Corrupt,
            Fault::Stall { .. } => Self::Stalled,
            Fault::Close { .. } => Self::Closed,
            Fault::Restart { .. } => Self::ServerDown,
        }
    }
}

impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        Self::Failed(status.code(), status.delivery())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_millis();
        match &self.event {
            Event::Call(number, event) => write!(f, "{at:>7} ms  call {number}: {event:?}"),
            Event::Link(number, event) => write!(f, "{at:>7} ms  link {number}: {event:?}"),
            event => write!(f, "{at:>7} ms  {event:?}"),
        }
    }
}
