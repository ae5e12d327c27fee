//! A call on its way to its handler, as layers see it.

use std::{any::Any, fmt, sync::Arc, time::Instant};

use wawo_protocol::{Metadata, MethodId, ServiceId};

use crate::{body::Body, descriptor::MethodDescriptor, extensions::Extensions};

/// What travels through the tower stack: which method is called, with what.
///
/// The same type goes through layers of a caller and of a callee. A layer may read and change
/// metadata, deadline and extensions before it passes the request on.
pub struct Request {
    service: ServiceId,
    method: MethodId,
    one_way: bool,
    metadata: Metadata,
    deadline: Option<Instant>,
    extensions: Extensions,
    body: Body,
    /// How many calls led to this one.
    pub(crate) depth: u32,
    /// The peer that calls, for [`Context::peer`](crate::Context::peer). Its type belongs to a
    /// module above this one.
    pub(crate) caller: Option<Arc<dyn Any + Send + Sync>>,
}

impl Request {
    /// A call of a method, with the messages in `body`.
    pub fn new(method: &MethodDescriptor, body: Body) -> Self {
        let one_way = method.shape() == crate::descriptor::Shape::OneWay;
        Self::by_id(method.service(), method.id(), one_way, body)
    }

    /// A call of a method that is known by its numbers only, as a gateway has them.
    pub fn by_id(service: ServiceId, method: MethodId, one_way: bool, body: Body) -> Self {
        Self {
            service,
            method,
            one_way,
            metadata: Metadata::new(),
            deadline: None,
            extensions: Extensions::default(),
            body,
            depth: 0,
            caller: None,
        }
    }

    /// The service that is called.
    pub fn service(&self) -> ServiceId {
        self.service
    }

    /// The method that is called.
    pub fn method(&self) -> MethodId {
        self.method
    }

    /// Whether nothing, not even a status, goes back.
    pub fn is_one_way(&self) -> bool {
        self.one_way
    }

    /// What travels beside the messages.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What travels beside the messages, to be changed.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// When the call fails if it has not ended. `None`: on the calling side, the default timeout
    /// of the connection will apply; on the called side, there is no deadline.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Sets when the call fails if it has not ended.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Values that layers leave for others and for the handler.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Values that layers leave for others and for the handler, to be changed.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// The messages of the call.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The messages of the call, to be changed.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Takes the request apart.
    pub(crate) fn into_parts(self) -> Parts {
        Parts {
            metadata: self.metadata,
            deadline: self.deadline,
            extensions: self.extensions,
            body: self.body,
            depth: self.depth,
            caller: self.caller,
        }
    }
}

/// What a request is made of, besides which method it calls.
pub(crate) struct Parts {
    pub(crate) metadata: Metadata,
    pub(crate) deadline: Option<Instant>,
    pub(crate) extensions: Extensions,
    pub(crate) body: Body,
    pub(crate) depth: u32,
    pub(crate) caller: Option<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("service", &self.service)
            .field("method", &self.method)
            .field("one_way", &self.one_way)
            .field("metadata", &self.metadata)
            .field("deadline", &self.deadline)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
