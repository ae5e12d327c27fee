//! The measure of a call of this side that only metrics observe.

use std::{sync::Arc, time::Instant};

use wawo_protocol::Code;

use crate::{
    clock,
    metrics::{CallFigures, Series},
    observe::{observers::Observers, open_record::OpenRecord, record::CallRecord},
};

/// The measure of a call with one request, which counts as in flight. Most calls with metrics need no more than
/// this, which waits in the slot of their response, so that they allocate nothing for a [`CallRecord`].
#[derive(Debug)]
pub(crate) struct Measure {
    observers: Arc<Observers>,
    series: Series,
    request_bytes: u32,
    started: Instant,
}

impl Measure {
    /// Begins to measure a call with a request of this length.
    #[inline]
    pub(crate) fn begin(observers: &Arc<Observers>, series: Series, bytes: usize) -> Self {
        if let Some(metrics) = observers.metrics() {
            metrics.call_began(series);
        }
        Self {
            observers: observers.clone(),
            series,
            // A message has at most 2^32 bytes.
            request_bytes: bytes.try_into().unwrap_or(u32::MAX),
            started: clock::now(),
        }
    }

    /// Ends the call; `reply` is the length of its only reply.
    #[inline]
    pub(crate) fn end(self, code: Code, reply: Option<usize>, now: Instant) {
        if let Some(metrics) = self.observers.metrics() {
            let figures = CallFigures {
                code,
                took: now.saturating_duration_since(self.started),
                request_messages: 1,
                request_bytes: u64::from(self.request_bytes),
                reply_messages: u64::from(reply.is_some()),
                reply_bytes: reply.unwrap_or(0) as u64,
            };
            metrics.call_ended(self.series, &figures);
        }
    }

    /// The record of the call, if its replies turn out to be a stream, or if it waits for room.
    pub(crate) fn into_record(self) -> OpenRecord {
        self.into_record_of(false)
    }

    /// The record of a one-way call that waits for room.
    pub(crate) fn into_one_way_record(self) -> OpenRecord {
        self.into_record_of(true)
    }

    fn into_record_of(self, one_way: bool) -> OpenRecord {
        let started = self.started;
        let mut record = CallRecord::of_measure(self.series, started, one_way);
        record.add_requests(1, u64::from(self.request_bytes));
        OpenRecord::of_counted(self.observers, record)
    }
}
