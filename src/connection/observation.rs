//! The records of the other side's calls, for the observers of a connection.
//!
//! Most calls end where they are served, so their record is never moved: it stays in place. The records of
//! the others wait in a table. A driver without observers has none of this.

mod figures;

use std::{sync::Arc, time::Instant};

use wawo_protocol::{CallId, Code, ConnectionError, Side};

use crate::{
    body::Body,
    call_depth,
    call_side::CallSide,
    clock,
    connection::{gauges::Gauges, handle::ConnectionHandle},
    descriptor::{MethodDescriptor, MethodIds},
    metrics::{CallFigures, Series},
    observe::{
        CallFacts, CallOutcome, CallRecord, CallSpan, FarEnd, MessageFigures, Observers,
        OpenRecord, RecordExtras,
    },
    request::Request,
    transport::Address,
};

/// The part of a driver that observes.
#[derive(Debug)]
pub(super) struct Observation {
    observers: Arc<Observers>,
    /// Whether there is more than metrics.
    has_hooks: bool,
    handle: Arc<ConnectionHandle>,
    far_end: Arc<FarEnd>,
    side: Side,
    transport: &'static str,
    /// The series of methods that were called, by their ids.
    series: [Option<(MethodIds, Series)>; SERIES_PLACES],
    /// The time at which the calls that are served now were read.
    read_at: Instant,
    /// The time at which the last call ended. The next one begins at it, so that a call that ends where it
    /// begins needs one look at the clock.
    last_end: Instant,
    /// The call that is served now, or has just been: a one-way call that succeeds ends without a word, so its
    /// record ends when the next call begins, or all calls that were read are served.
    in_place: Option<InPlace>,
    /// The parts of its record that metrics do not need, if it has some.
    extras: Option<Box<RecordExtras>>,
    /// The length of the first request of the stream that is about to be served.
    first_request: Option<usize>,
    /// The calls that wait, and those with a stream, by their index.
    records: Vec<Option<Box<CallRecord>>>,
    gauges: Gauges,
}

/// A call that is served where its packet was handled: the parts of its record that are not known elsewhere. It
/// came at `read_at`, and began at `last_end`.
#[derive(Debug, Clone, Copy)]
struct InPlace {
    /// `None` if it is one-way.
    call: Option<CallId>,
    ids: MethodIds,
    series: Series,
    /// The length of the request that came with it.
    request: Option<usize>,
    deadline: Option<Instant>,
    /// 0 if there are only metrics, which do not need it.
    call_depth: u32,
    /// Whether others than the metrics want its end.
    needs_end: bool,
}

/// The number of methods whose series are found at once.
const SERIES_PLACES: usize = 16;

/// The outcome of a call whose connection ended.
const LOST: CallOutcome<'static> =
    CallOutcome::of_code(Code::Unavailable, "the connection ended before the call");

/// The outcome of a call whose reply exceeds a limit.
const OVERLOADED: CallOutcome<'static> =
    CallOutcome::of_code(Code::ResourceExhausted, "the reply exceeds a limit");

impl Observation {
    /// Observes a connection that is open now.
    pub(super) fn new(
        observers: &Arc<Observers>,
        handle: &Arc<ConnectionHandle>,
        now: Instant,
    ) -> Self {
        let owner = handle.owner();
        let transport = transport_of(owner.address());
        if let Some(metrics) = observers.metrics() {
            metrics.connection_opened(handle.side(), transport);
        }
        Self {
            observers: observers.clone(),
            has_hooks: observers.has_hooks(),
            handle: handle.clone(),
            far_end: Arc::new(FarEnd::native(Some(owner.id()), owner.address())),
            side: handle.side(),
            transport,
            series: [None; SERIES_PLACES],
            read_at: now,
            last_end: now,
            in_place: None,
            extras: None,
            first_request: None,
            records: Vec::new(),
            gauges: Gauges::default(),
        }
    }

    /// Begins the record of a call that is about to be served.
    #[inline]
    pub(super) fn begin(&mut self, call: Option<CallId>, request: &mut Request) {
        if self.in_place.is_some() {
            self.end_in_place(&CallOutcome::OK);
        }
        let (head, body) = (request.head(), request.body());
        let request_bytes = match body {
            Body::One(message) => Some(message.len()),
            Body::Many(_) => self.first_request.take(),
        };
        let ids = head.ids();
        self.in_place = Some(InPlace {
            call,
            ids,
            series: self.series_of(ids),
            request: request_bytes,
            deadline: head.deadline,
            call_depth: 0,
            needs_end: false,
        });
        if self.has_hooks {
            self.began(request);
        }
    }

    #[inline(never)]
    fn began(&mut self, request: &mut Request) {
        let Some(in_place) = &mut self.in_place else {
            return;
        };
        // It is still in the metadata, as the call is not served yet.
        in_place.call_depth = call_depth::peek(request.metadata());
        let in_place = *in_place;
        let mut record = self.record_of(in_place);
        let descriptor = self.handle.descriptor(in_place.ids);
        let facts = self.facts(descriptor.as_deref());
        self.observers.began(&mut record, facts, request.metadata());
        if let Some(span) = record.span() {
            request.extensions_mut().insert(CallSpan(span.clone()));
        }
        let needs_end = self.observers.needs_end(record.span().is_some());
        self.extras = record.take_extras();
        if let Some(in_place) = &mut self.in_place {
            in_place.needs_end = needs_end;
        }
    }

    /// The record of the call that is served now.
    fn record_of(&mut self, in_place: InPlace) -> CallRecord {
        let InPlace {
            call,
            ids,
            series,
            request,
            deadline,
            call_depth,
            ..
        } = in_place;
        let requests = request.map_or_else(MessageFigures::default, MessageFigures::of_one);
        let (came, started) = (self.read_at, self.last_end);
        let record = CallRecord::new(CallSide::Server, ids, series, came, started);
        let mut record = record.with_request(call.is_none(), deadline, requests);
        record.call_depth = call_depth;
        record.with_extras(self.extras.take())
    }

    fn facts<'a>(&'a self, descriptor: Option<&'a MethodDescriptor>) -> CallFacts<'a> {
        CallFacts {
            descriptor,
            far_end: &self.far_end,
            identity: self.handle.identity(),
        }
    }

    /// The stream that is about to be served has come with a request of this length.
    pub(super) fn set_first_request(&mut self, bytes: usize) {
        self.first_request = Some(bytes);
    }

    /// The series of a method. Only that of a known method is kept: services can be added while the
    /// connection is open.
    #[inline]
    fn series_of(&mut self, ids: MethodIds) -> Series {
        let place = (ids.service.0 ^ ids.method.0) as usize % SERIES_PLACES;
        match self.series[place] {
            Some((known, series)) if known == ids => series,
            _ => self.find_series(ids, place),
        }
    }

    #[inline(never)]
    fn find_series(&mut self, ids: MethodIds, place: usize) -> Series {
        let method = self.handle.descriptor(ids);
        let protocol = self.far_end.protocol;
        let observers = &self.observers;
        let series = observers.series(CallSide::Server, protocol, method.as_deref());
        if method.is_some() {
            self.series[place] = Some((ids, series));
        }
        series
    }

    /// Ends the call that was served now, if nothing else has.
    pub(super) fn end_in_place(&mut self, outcome: &CallOutcome<'_>) {
        if let Some(in_place) = self.in_place.take() {
            let record = self.record_of(in_place);
            let now = self.look_at_clock();
            self.report(&record, outcome, now);
        }
    }

    /// The record of a one-way call that waits: its task carries it on.
    pub(super) fn take_one_way(&mut self) -> Option<OpenRecord> {
        let in_place = self.in_place.take()?;
        let mut record = self.record_of(in_place);
        if self.has_hooks {
            record.keep_identity(self.handle.identity());
        }
        let descriptor = self.handle.descriptor(in_place.ids);
        let (observers, far_end) = (&self.observers, &self.far_end);
        Some(OpenRecord::new(
            observers,
            record,
            far_end,
            descriptor.as_deref(),
        ))
    }

    /// Keeps the record of the call that was served now, because it goes on.
    pub(super) fn keep(&mut self, call: CallId) {
        let Some(mut record) = self.take_in_place(call) else {
            return;
        };
        self.observers.count(&mut record);
        let index = call.index();
        if index >= self.records.len() {
            self.records.resize_with(index + 1, || None);
        }
        self.records[index] = Some(Box::new(record));
    }

    /// Keeps the record of a call whose replies are a stream from now on, with this deadline.
    pub(super) fn begin_replies(&mut self, call: CallId, deadline: Option<Instant>) {
        self.keep(call);
        if let Some(record) = self.kept(call) {
            record.set_deadline(deadline);
        }
    }

    /// Takes the call that is served now, if it is this one.
    fn take_in_place(&mut self, call: CallId) -> Option<CallRecord> {
        let in_place = &mut self.in_place;
        let in_place = in_place.take_if(|in_place| in_place.call == Some(call))?;
        Some(self.record_of(in_place))
    }

    /// Takes the record of a call that ends.
    fn take(&mut self, call: CallId) -> Option<CallRecord> {
        match self.take_in_place(call) {
            Some(record) => Some(record),
            None => self
                .records
                .get_mut(call.index())?
                .take()
                .map(|record| *record),
        }
    }

    /// The record of a call that goes on.
    fn kept(&mut self, call: CallId) -> Option<&mut CallRecord> {
        self.records.get_mut(call.index())?.as_deref_mut()
    }

    /// Counts requests of a stream.
    pub(super) fn add_requests(&mut self, call: CallId, messages: usize, bytes: usize) {
        if let Some(record) = self.kept(call) {
            record.add_requests(messages as u64, bytes as u64);
        }
    }

    /// Counts replies of a stream.
    pub(super) fn add_replies(&mut self, call: CallId, messages: usize, bytes: usize) {
        if let Some(record) = self.kept(call) {
            record.add_replies(messages as u64, bytes as u64, clock::now);
        }
    }

    /// Ends a call with its only reply, of this length. If it was not sent, a limit has ended the call.
    #[inline]
    pub(super) fn replied(&mut self, call: CallId, bytes: usize, is_sent: bool) {
        match self.in_place {
            Some(in_place) if in_place.call == Some(call) && is_sent && !in_place.needs_end => {
                self.in_place = None;
                if self.has_hooks {
                    self.extras = None;
                }
                let started = self.last_end;
                let took = self.look_at_clock().saturating_duration_since(started);
                let figures = CallFigures {
                    code: Code::Ok,
                    took,
                    request_messages: u64::from(in_place.request.is_some()),
                    request_bytes: in_place.request.unwrap_or(0) as u64,
                    reply_messages: 1,
                    reply_bytes: bytes as u64,
                };
                self.observers.whole_call(in_place.series, &figures);
            }
            _ => self.replied_late(call, bytes, is_sent),
        }
    }

    #[inline(never)]
    fn replied_late(&mut self, call: CallId, bytes: usize, is_sent: bool) {
        let Some(mut record) = self.take(call) else {
            return;
        };
        let now = self.look_at_clock();
        if !is_sent {
            return self.report(&record, &OVERLOADED, now);
        }
        record.add_reply(bytes, now);
        self.report(&record, &CallOutcome::OK, now);
    }

    /// Ends a call whose stream of replies could not begin: a limit has ended it.
    pub(super) fn not_replied(&mut self, call: CallId) {
        self.end(call, &OVERLOADED);
    }

    /// Ends a call.
    pub(super) fn end(&mut self, call: CallId, outcome: &CallOutcome<'_>) {
        if let Some(record) = self.take(call) {
            let now = self.look_at_clock();
            self.report(&record, outcome, now);
        }
    }

    /// Ends a call that its caller has cancelled.
    pub(super) fn cancelled(&mut self, call: CallId) {
        if let Some(record) = self.take(call) {
            let now = self.look_at_clock();
            let code = record.code_of_drop(now);
            let outcome = CallOutcome::of_code(code, "the caller cancelled the call");
            self.report(&record, &outcome, now);
        }
    }

    fn report(&self, record: &CallRecord, outcome: &CallOutcome<'_>, now: Instant) {
        if !self.has_hooks {
            return self.observers.end(record, outcome, now, None);
        }
        let descriptor = self.handle.descriptor(record.ids());
        let facts = self.facts(descriptor.as_deref());
        self.observers.end(record, outcome, now, Some(facts));
    }

    fn look_at_clock(&mut self) -> Instant {
        self.last_end = clock::now();
        self.last_end
    }

    /// Ends all calls with the connection.
    pub(super) fn close(&mut self, error: &ConnectionError) {
        let now = self.look_at_clock();
        let records = std::mem::take(&mut self.records);
        for record in records.into_iter().flatten() {
            self.report(&record, &LOST, now);
        }
        self.set_gauges(Gauges::default());
        if let Some(metrics) = self.observers.metrics() {
            metrics.connection_ended(self.side, self.transport, error.reason());
        }
    }
}

/// The name of a transport in metrics: its scheme, of those that wawo has.
fn transport_of(address: Option<&Address>) -> &'static str {
    match address {
        Some(Address::Tcp(_)) => "tcp",
        Some(Address::Tls(_)) => "tls",
        Some(Address::Unix(_) | Address::Abstract(_)) => "unix",
        Some(Address::Pipe(_)) => "pipe",
        Some(Address::Memory(_)) => "mem",
        _ => "other",
    }
}
