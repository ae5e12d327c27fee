//! The counts of one series, or of one transport, that one thread writes.

use std::sync::OnceLock;

use crate::metrics::{counter::Counter, durations::DurationCells, figures::CallFigures};

/// The number of codes.
pub(super) const CODES: usize = 17;

/// The calls of one series that one thread has seen begin or end.
#[derive(Debug, Default)]
pub(super) struct SeriesCells {
    pub(super) started: Counter,
    /// Calls that did not end at once: those that began, and those that ended. A call may begin in one
    /// thread and end in another, so only the sums over all threads can be compared.
    pub(super) began: Counter,
    pub(super) ended: Counter,
    pub(super) requests: MessageCells,
    pub(super) replies: MessageCells,
    pub(super) retries: Counter,
    pub(super) panics: Counter,
    /// By code. Most methods end with one or two of them, and each takes 2 KiB, so they are made when they
    /// are first used.
    pub(super) durations: [OnceLock<Box<DurationCells>>; CODES],
}

/// The messages of one direction.
#[derive(Debug, Default)]
pub(super) struct MessageCells {
    pub(super) messages: Counter,
    pub(super) bytes: Counter,
}

/// The bytes of the sockets of one kind.
#[derive(Debug, Default)]
pub(super) struct IoCells {
    pub(super) received: Counter,
    pub(super) sent: Counter,
}

impl SeriesCells {
    #[inline]
    pub(super) fn call_began(&self) {
        self.started.add(1);
        self.began.add(1);
    }

    #[inline]
    pub(super) fn call_ended(&self, figures: &CallFigures) {
        self.ended.add(1);
        self.add(figures);
    }

    #[inline]
    pub(super) fn whole_call(&self, figures: &CallFigures) {
        self.started.add(1);
        self.add(figures);
    }

    #[inline]
    fn add(&self, figures: &CallFigures) {
        self.requests
            .add(figures.request_messages, figures.request_bytes);
        self.replies
            .add(figures.reply_messages, figures.reply_bytes);
        match self.durations[figures.code as usize].get() {
            Some(durations) => durations.add(figures.took),
            None => self.add_first(figures),
        }
    }

    /// Counts the first call that ends with a code.
    #[cold]
    fn add_first(&self, figures: &CallFigures) {
        let durations = &self.durations[figures.code as usize];
        durations.get_or_init(Box::default).add(figures.took);
    }
}

impl MessageCells {
    #[inline]
    fn add(&self, messages: u64, bytes: u64) {
        self.messages.add(messages);
        self.bytes.add(bytes);
    }
}
