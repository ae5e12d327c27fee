//! A call on its way to its handler, as layers see it.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, OnceLock},
    time::Instant,
};

use tokio_util::sync::CancellationToken;
use triomphe::UniqueArc;
use wawo_protocol::{Metadata, MethodId, ServiceId};

use crate::{
    body::Body, decoding::DecodedBytes, descriptor::MethodDescriptor, extensions::Extensions,
};

/// What travels through the tower stack: which method is called, with what.
///
/// The same type goes through layers of a caller and of a callee. A layer may read and change
/// metadata, deadline and extensions before it passes the request on.
pub struct Request {
    head: UniqueArc<Head>,
    body: Body,
}

/// All of a call but its messages. It becomes the [`Context`](crate::Context) of the handler where
/// it is: a call that goes through many hands is moved often.
pub(crate) struct Head {
    service: ServiceId,
    method: MethodId,
    one_way: bool,
    pub(crate) metadata: Metadata,
    pub(crate) deadline: Option<Instant>,
    pub(crate) extensions: Extensions,
    /// How many calls led to this one.
    pub(crate) depth: u32,
    /// The peer that calls, for [`Context::peer`](crate::Context::peer). Its type belongs to a
    /// module above this one.
    pub(crate) caller: Option<Arc<dyn Caller>>,
    /// Its handler may outlive the call, and so may the calls that it makes.
    pub(crate) runs_to_completion: bool,
    /// Its handler blocks its thread.
    pub(crate) is_blocking: bool,
    /// Made when first asked for, as is what follows: most handlers never ask.
    pub(crate) reply_metadata: OnceLock<Mutex<Metadata>>,
    pub(crate) cancelled: OnceLock<CancellationToken>,
}

/// The peer that calls, as far as modules below it know it.
pub(crate) trait Caller: Send + Sync {
    /// Where it is, for the log.
    fn label(&self) -> String;

    /// What decoded messages of it take of memory.
    fn decoded_bytes(&self) -> &Arc<DecodedBytes>;

    /// The peer itself.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl Request {
    /// A call of a method, with the messages in `body`.
    pub fn new(method: &MethodDescriptor, body: Body) -> Self {
        let one_way = method.shape() == crate::descriptor::Shape::OneWay;
        Self::by_id(method.service(), method.id(), one_way, body)
    }

    /// A call of a method that is known by its numbers only, as a gateway has them.
    pub fn by_id(service: ServiceId, method: MethodId, one_way: bool, body: Body) -> Self {
        let head = UniqueArc::new(Head {
            service,
            method,
            one_way,
            metadata: Metadata::new(),
            deadline: None,
            extensions: Extensions::default(),
            depth: 0,
            caller: None,
            runs_to_completion: false,
            is_blocking: false,
            reply_metadata: OnceLock::new(),
            cancelled: OnceLock::new(),
        });
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

    /// Whether nothing, not even a status, goes back.
    pub fn is_one_way(&self) -> bool {
        self.head.one_way
    }

    /// What travels beside the messages.
    pub fn metadata(&self) -> &Metadata {
        &self.head.metadata
    }

    /// What travels beside the messages, to be changed.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.head.metadata
    }

    /// When the call fails if it has not ended. `None`: on the calling side, the default timeout
    /// of the connection will apply; on the called side, there is no deadline.
    pub fn deadline(&self) -> Option<Instant> {
        self.head.deadline
    }

    /// Sets when the call fails if it has not ended.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.head.deadline = deadline;
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

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    pub(crate) fn into_parts(self) -> (UniqueArc<Head>, Body) {
        (self.head, self.body)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("service", &self.head.service)
            .field("method", &self.head.method)
            .field("one_way", &self.head.one_way)
            .field("metadata", &self.head.metadata)
            .field("deadline", &self.head.deadline)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
