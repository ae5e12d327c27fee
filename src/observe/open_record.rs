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
    descriptor::MethodDescriptor,
    observe::{
        observers::Observers,
        outcome::CallOutcome,
        record::{CallFacts, CallRecord, FarEnd},
    },
    status::Delivery,
};

/// The record of a call that a future or a stream carries to its end. Dropping it ends the call: it was
/// cancelled, or its deadline has passed.
#[derive(Debug)]
pub(crate) struct OpenRecord {
    observers: Arc<Observers>,
    record: CallRecord,
    /// The other end and the method; `None` if there are only metrics.
    details: Option<(Arc<FarEnd>, Option<MethodDescriptor>)>,
    /// The requests that were sent or read, if they are a stream.
    requests: Option<Arc<RequestCount>>,
    retries: Option<RetryCount>,
    /// The deadline of the call if its replies are a stream.
    stream_deadline: Option<Instant>,
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

/// Counts the requests of a stream, which another task may read.
#[derive(Debug, Default)]
pub(crate) struct RequestCount {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl RequestCount {
    pub(crate) fn add(&self, messages: usize, bytes: usize) {
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl OpenRecord {
    /// The record of a call that is in flight from now on. The descriptor is of use if there is more than
    /// metrics.
    pub(crate) fn new(
        observers: &Arc<Observers>,
        mut record: CallRecord,
        far_end: &Arc<FarEnd>,
        descriptor: Option<&MethodDescriptor>,
    ) -> Self {
        observers.count(&mut record);
        let has_hooks = observers.has_hooks();
        Self {
            observers: observers.clone(),
            stream_deadline: record.deadline(),
            record,
            details: has_hooks.then(|| (far_end.clone(), descriptor.cloned())),
            requests: None,
            retries: None,
            has_ended: false,
        }
    }

    /// The record of a call that counts as in flight already, and that only metrics observe.
    pub(super) fn of_counted(observers: Arc<Observers>, mut record: CallRecord) -> Self {
        record.is_counted = true;
        Self {
            observers,
            stream_deadline: record.deadline(),
            record,
            details: None,
            requests: None,
            retries: None,
            has_ended: false,
        }
    }

    /// The counter of the stream of requests.
    pub(crate) fn count_requests(&mut self) -> Arc<RequestCount> {
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

    /// Sets the deadline that the call has if its replies are a stream.
    pub(crate) fn set_stream_deadline(&mut self, deadline: Option<Instant>) {
        self.stream_deadline = deadline;
    }

    /// The replies of the call are a stream from now on.
    pub(crate) fn begin_replies(&mut self) {
        self.record.set_deadline(self.stream_deadline);
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
        let retries = self.retries.as_ref();
        let retries = retries.map_or(0, |retries| retries.0.load(Ordering::Relaxed));
        let outcome = CallOutcome {
            attempts: 1 + retries,
            ..*outcome
        };
        let details = self.details.as_ref();
        let facts = details.map(|(far_end, descriptor)| CallFacts {
            descriptor: descriptor.as_ref(),
            far_end,
            identity: None,
        });
        self.observers.end(&self.record, &outcome, now, facts);
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        if !self.has_ended {
            let now = clock::now_in_drop();
            let code = self.record.code_of_drop(now);
            let outcome = CallOutcome {
                delivery: Some(Delivery::Unknown),
                ..CallOutcome::of_code(code, DROPPED)
            };
            self.end_at(&outcome, now);
        }
    }
}

/// The text of a call whose end nobody waited for.
const DROPPED: &str = "the call was dropped before its end";
