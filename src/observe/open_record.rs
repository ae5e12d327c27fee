//! A record that ends by itself when it is dropped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

use tracing::Span;

use crate::{
    clock,
    observe::{observers::Observers, outcome::CallOutcome, record::CallRecord},
};

/// The record of a call that a future or a stream carries to its end. Dropping it ends the call: it was
/// cancelled, or its deadline has passed.
#[derive(Debug)]
pub(crate) struct OpenRecord {
    observers: Arc<Observers>,
    record: CallRecord,
    /// The requests that were sent or read, if they are a stream.
    requests: Option<Arc<MessageCount>>,
    retries: Option<RetryCount>,
    has_ended: bool,
}

/// Counts how often a call is made again. An extension of requests to peers that do so.
#[derive(Debug, Clone, Default)]
pub(crate) struct RetryCount(Arc<AtomicU32>);

impl RetryCount {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts the messages of a stream, which another task reads.
#[derive(Debug, Default)]
pub(crate) struct MessageCount {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl MessageCount {
    pub(crate) fn add(&self, messages: usize, bytes: usize) {
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl OpenRecord {
    /// The record of a call that is in flight from now on.
    pub(crate) fn new(observers: Arc<Observers>, mut record: CallRecord) -> Self {
        observers.count(&mut record);
        Self {
            observers,
            record,
            requests: None,
            retries: None,
            has_ended: false,
        }
    }

    /// The counter of the stream of requests.
    pub(crate) fn count_requests(&mut self) -> Arc<MessageCount> {
        self.requests.get_or_insert_default().clone()
    }

    pub(crate) fn span(&self) -> Option<&Span> {
        self.record.span()
    }

    /// Counts replies of a stream.
    pub(crate) fn add_replies(&mut self, messages: usize, bytes: usize) {
        self.record
            .add_replies(messages as u64, bytes as u64, clock::now);
    }

    /// Lets another task count how often the call is made again.
    pub(crate) fn set_retries(&mut self, retries: RetryCount) {
        self.retries = Some(retries);
    }

    /// Ends the call with its only reply.
    pub(crate) fn replied(&mut self, bytes: usize) {
        let now = clock::now();
        self.record.add_reply(bytes, now);
        self.end_at(&CallOutcome::OK, now);
    }

    /// Ends the call.
    pub(crate) fn end(&mut self, outcome: &CallOutcome<'_>) {
        self.end_at(outcome, clock::now());
    }

    fn end_at(&mut self, outcome: &CallOutcome<'_>, now: Instant) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        if let Some(requests) = &self.requests {
            let messages = requests.messages.load(Ordering::Relaxed);
            let bytes = requests.bytes.load(Ordering::Relaxed);
            self.record.add_requests(messages, bytes);
        }
        if let Some(RetryCount(retries)) = &self.retries {
            self.record.add_attempts(retries.load(Ordering::Relaxed));
        }
        self.observers.end(&self.record, outcome, now);
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        if !self.has_ended {
            let now = clock::now_in_drop();
            let code = self.record.code_of_drop(now);
            self.end_at(&CallOutcome::of_code(code, DROPPED), now);
        }
    }
}

/// The text of a call whose end nobody waited for.
const DROPPED: &str = "the call was dropped before its end";
