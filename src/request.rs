//! The request of a call, as layers see it on its way to the handler.

mod again;
mod deadline;
mod identity;
mod parts;

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use triomphe::UniqueArc;
use wawo_protocol::{Config, DeadlineSource, Metadata, MethodId, ServiceId, time::after};

pub(crate) use crate::request::deadline::{Deadline, DefaultTimeouts, StreamDeadline, WaitsSince};
pub use crate::request::parts::RequestParts;
use crate::{
    body::Body,
    clock,
    decoding::DecodedBytes,
    descriptor::{MethodDescriptor, MethodIds, MethodRef},
    extensions::Extensions,
    identity::Identity,
    request::deadline::MAX_TIMEOUT,
};

/// The request of a call in the tower stack: the method, the messages, and all that goes with them.
///
/// The same type goes through layers of a caller and of a callee. A layer may read and change
/// metadata, deadline and extensions before it passes the request on.
pub struct Request {
    head: UniqueArc<RequestHead>,
    body: Body,
}

/// All parts of a call but its messages. It becomes the [`Context`](crate::Context) of the handler
/// without being moved: a call passes through many layers, and its request is moved often.
pub(crate) struct RequestHead {
    service: ServiceId,
    method: MethodId,
    /// The schema of the method, if the call was made with it or has reached its service. Otherwise the
    /// caller finds it by the ids: see [`RequestHead::descriptor`].
    pub(crate) descriptor: Option<MethodRef>,
    one_way: bool,
    /// Whether there is a stream in either direction, as far as the caller knows.
    pub(crate) is_stream: bool,
    pub(crate) metadata: Metadata,
    pub(crate) deadline: Option<Instant>,
    /// The setting that the deadline came from, on the calling side.
    pub(crate) deadline_source: DeadlineSource,
    /// Whether the default timeout of the connection limits the call too.
    pub(crate) takes_default: bool,
    pub(crate) extensions: Extensions,
    /// The number of calls that led to this one, until it is served; from then on it counts this one too.
    /// So a call that its handler makes, or that it becomes when it is sent on, takes its depth from
    /// here.
    pub(crate) call_depth: u32,
    /// The peer that calls, for [`Context::peer`](crate::Context::peer). Its type is erased, because it
    /// belongs to a module above this one.
    pub(crate) caller: Option<Arc<dyn Caller>>,
    /// Whether its handler, and calls that the handler makes, may outlive the call.
    pub(crate) runs_to_completion: bool,
    /// Whether its handler blocks its thread.
    pub(crate) is_blocking: bool,
    /// Made when a layer or a handler first needs any of them: most never do.
    pub(crate) lazy_parts: OnceLock<Box<LazyParts>>,
}

/// The parts of a [`RequestHead`] that a connection receives.
pub(crate) struct ReceivedHead {
    pub(crate) caller: Arc<dyn Caller>,
    pub(crate) one_way: bool,
    pub(crate) metadata: Metadata,
    pub(crate) deadline: Option<Instant>,
}

/// The parts of a call that are made when they are first needed.
#[derive(Debug, Default)]
pub(crate) struct LazyParts {
    /// The schema of the method, found by its ids.
    descriptor: OnceLock<MethodRef>,
    pub(crate) reply_metadata: Mutex<ReplyMetadata>,
    pub(crate) cancelled: OnceLock<CancellationToken>,
    /// The identity of this call, if it is not that of its peer.
    identity: Option<Identity>,
}

/// The metadata that a handler sets for its replies.
#[derive(Debug, Default)]
pub(crate) struct ReplyMetadata {
    /// The metadata that is sent before the replies.
    pub(crate) leading: Metadata,
    /// The metadata that is sent after the replies.
    pub(crate) trailing: Metadata,
}

/// The peer that calls, for modules below it.
pub(crate) trait Caller: Send + Sync {
    /// The address of the peer, for the log.
    fn label(&self) -> String;

    /// The memory that the peer's decoded messages take.
    fn decoded_bytes(&self) -> &Arc<DecodedBytes>;

    /// The schema of a method that this side serves to the peer.
    fn descriptor(&self, ids: MethodIds) -> Option<MethodRef>;

    /// The identity that the peer has proven.
    fn identity(&self) -> Option<&Identity>;

    /// The peer itself.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl Request {
    /// A request for a method, with the messages in `body`. If the schema gives the method a timeout, it
    /// runs from now.
    pub fn new(method: &MethodDescriptor, body: Body) -> Self {
        Self::of(method.clone().into(), body)
    }

    /// See [`new`](Self::new).
    pub(crate) fn of(method: MethodRef, body: Body) -> Self {
        let one_way = method.shape() == crate::descriptor::Shape::OneWay;
        let mut request = Self::by_id(method.service(), method.id(), one_way, body);
        let head = &mut *request.head;
        head.is_stream = method.shape().is_stream();
        if let Some(timeout) = method.timeout() {
            head.set_timeout(timeout, DeadlineSource::Method);
        }
        request.head.descriptor = Some(method);
        request
    }

    /// A request for a method that is known by its ids only, as in a gateway.
    ///
    /// With many messages in `body`, the call is taken for a stream, and has no default timeout. With a
    /// single message it is not, since nothing says that its reply will be a stream: set a deadline, or
    /// [none](Self::set_no_deadline).
    pub fn by_id(service: ServiceId, method: MethodId, one_way: bool, body: Body) -> Self {
        let head = RequestHead::new(MethodIds { service, method }, one_way, &body);
        Self::of_head(head, body)
    }

    /// A request that came over a connection.
    #[inline]
    pub(crate) fn of_connection(ids: MethodIds, received: ReceivedHead, body: Body) -> Self {
        let head = RequestHead {
            metadata: received.metadata,
            deadline: received.deadline,
            // The caller has chosen how much time the call has. If the handler sends this request on, it
            // gets no default timeout.
            takes_default: false,
            caller: Some(received.caller),
            ..RequestHead::new(ids, received.one_way, &body)
        };
        Self::of_head(head, body)
    }

    #[inline]
    fn of_head(head: RequestHead, body: Body) -> Self {
        let head = UniqueArc::new(head);
        Self { head, body }
    }

    /// The service that is called.
    pub fn service(&self) -> ServiceId {
        self.head.service
    }

    /// The method that is called.
    pub fn method(&self) -> MethodId {
        self.head.method
    }

    /// The method as its schema declares it: name, types, shape. Layers use it to measure, authorise and
    /// trace.
    ///
    /// On the calling side it is that of the stub; on the called side that of the service that is served,
    /// even for layers around all services. `None` where no schema is known: for a call [by
    /// id](Self::by_id) before it is sent, and for a service that this side does not have.
    ///
    /// Each call of this function looks it up among the methods that are served.
    pub fn descriptor(&self) -> Option<&MethodDescriptor> {
        self.head.descriptor()
    }

    /// Whether nothing, not even a status, goes back.
    pub fn is_one_way(&self) -> bool {
        self.head.one_way
    }

    /// The metadata of the call.
    pub fn metadata(&self) -> &Metadata {
        &self.head.metadata
    }

    /// The metadata of the call, to be changed.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.head.metadata
    }

    /// The time at which the call fails if it has not ended. `None`: on the calling side, the default of
    /// the connection will apply, or [none](Self::set_no_deadline); on the called side, there is no
    /// deadline.
    pub fn deadline(&self) -> Option<Instant> {
        self.head.deadline
    }

    /// Sets the time at which the call fails if it has not ended. With `None`, the default of the
    /// connection applies: `default_timeout` of [`Config`](wawo_protocol::Config), or `stream_timeout` if
    /// the call has a stream.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.head.deadline = deadline;
        self.head.extensions.remove::<StreamDeadline>();
        self.head.deadline_source = DeadlineSource::Call;
        self.head.takes_default = deadline.is_none();
    }

    /// Gives the call no deadline, not even the default of the connection.
    pub fn set_no_deadline(&mut self) {
        self.set_deadline(None);
        self.head.takes_default = false;
    }

    /// Gives the call the default timeout of a configuration, from now on, unless its caller set a deadline
    /// or [none](Self::set_no_deadline): `default_timeout`, or `stream_timeout` if the call has a stream.
    /// For carriers of calls: a [`Start`](crate::Start) of your own begins with it, and then keeps the
    /// [`deadline`](Self::deadline). A second time it changes nothing.
    pub fn take_default_timeout(&mut self, config: &Config) {
        let defaults = DefaultTimeouts::new(config);
        self.head.take_default(clock::now(), &defaults);
    }

    /// Makes the deadline no later than this time.
    pub(crate) fn shorten_deadline(&mut self, end: Instant) {
        let earlier = |at: Option<Instant>| Some(at.map_or(end, |at| at.min(end)));
        let of_stream = self.head.extensions.remove::<StreamDeadline>();
        self.set_deadline(earlier(self.head.deadline));
        if let Some(StreamDeadline(at)) = of_stream {
            self.head.extensions.insert(StreamDeadline(earlier(at)));
        }
    }

    /// Values that layers leave for others and for the handler.
    pub fn extensions(&self) -> &Extensions {
        &self.head.extensions
    }

    /// Values that layers leave for others and for the handler, to be changed.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.head.extensions
    }

    /// The messages of the call.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The messages of the call, to be changed.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    pub(crate) fn head(&self) -> &RequestHead {
        &self.head
    }

    pub(crate) fn head_mut(&mut self) -> &mut RequestHead {
        &mut self.head
    }

    pub(crate) fn into_head(self) -> (UniqueArc<RequestHead>, Body) {
        (self.head, self.body)
    }
}

impl RequestHead {
    #[inline]
    fn new(ids: MethodIds, one_way: bool, body: &Body) -> Self {
        Self {
            service: ids.service,
            method: ids.method,
            descriptor: None,
            one_way,
            is_stream: matches!(body, Body::Many(_)),
            metadata: Metadata::new(),
            deadline: None,
            deadline_source: DeadlineSource::Call,
            takes_default: true,
            extensions: Extensions::default(),
            call_depth: 0,
            caller: None,
            runs_to_completion: false,
            is_blocking: false,
            lazy_parts: OnceLock::new(),
        }
    }

    pub(crate) fn ids(&self) -> MethodIds {
        MethodIds {
            service: self.service,
            method: self.method,
        }
    }

    /// The schema of the method, as far as it is known here.
    pub(crate) fn descriptor(&self) -> Option<&MethodDescriptor> {
        if let Some(method) = &self.descriptor {
            return Some(method);
        }
        let (service, method) = (self.service, self.method);
        let caller = self.caller.as_ref()?;
        let found = caller.descriptor(MethodIds { service, method })?;
        Some(self.lazy_parts().descriptor.get_or_init(|| found))
    }

    /// The parts that are made when they are first needed.
    pub(crate) fn lazy_parts(&self) -> &LazyParts {
        self.lazy_parts.get_or_init(Box::default)
    }

    /// The deadline of the call, and the setting that it came from.
    pub(crate) fn sourced_deadline(&self) -> Option<Deadline> {
        let source = self.deadline_source;
        self.deadline.map(|at| Deadline { at, source })
    }

    /// Counts this call in the call depth, because it is served from here on.
    pub(crate) fn count_depth(&mut self) {
        self.call_depth = self.call_depth.saturating_add(1);
    }

    /// Sets a timeout that runs from now.
    pub(crate) fn set_timeout(&mut self, timeout: Duration, source: DeadlineSource) {
        let now = tokio::time::Instant::now().into_std();
        self.deadline = Some(after(now, timeout.min(MAX_TIMEOUT)));
        self.deadline_source = source;
        self.takes_default = false;
    }

    /// Makes the call end no later than the handler that makes it.
    pub(crate) fn inherit_deadline(&mut self, deadline: Instant) {
        if self.deadline.is_none_or(|own| deadline < own) {
            self.deadline = Some(deadline);
            self.deadline_source = DeadlineSource::Handler;
        }
    }

    /// Gives the call the default timeout of the connection that takes it, if that applies.
    pub(crate) fn take_default(&mut self, now: Instant, defaults: &DefaultTimeouts) {
        if std::mem::take(&mut self.takes_default) {
            let (timeout, source) = defaults.of(self.is_stream);
            let waited = self.extensions.get();
            let begin = waited.map_or(now, |&WaitsSince(begin)| begin);
            let default = timeout.map(|timeout| after(begin, timeout));
            if let Some(default) = default
                && self.deadline.is_none_or(|own| default < own)
            {
                self.deadline = Some(default);
                self.deadline_source = source;
            }
        }
    }

    /// Sets the deadline of a call that came over one connection and is sent on over another. The first
    /// connection ends it at the right deadline for its reply, so the second gets the later of the two.
    pub(crate) fn send_on(&mut self) {
        if let Some(StreamDeadline(of_stream)) = self.extensions.remove() {
            self.deadline = self
                .deadline
                .zip(of_stream)
                .map(|(one, other)| one.max(other));
        }
    }

    /// Changes the deadline to that of a stream, because the reply is one.
    pub(crate) fn become_stream(&mut self) {
        if let Some(StreamDeadline(deadline)) = self.extensions.remove() {
            self.deadline = deadline;
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("service", &self.head.service)
            .field("method", &self.head.method)
            .field("descriptor", &self.descriptor().map(MethodDescriptor::path))
            .field("one_way", &self.head.one_way)
            .field("metadata", &self.head.metadata)
            .field("deadline", &self.head.deadline)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
