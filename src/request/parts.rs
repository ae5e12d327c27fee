//! A request without its messages.

use std::{fmt, time::Instant};

use triomphe::UniqueArc;
use wawo_protocol::{Metadata, MethodId, ServiceId};

use crate::{
    body::Body,
    descriptor::MethodDescriptor,
    extensions::Extensions,
    request::{Request, RequestHead},
};

/// All parts of a [`Request`] but its messages: method, metadata, deadline, extensions, and the peer that
/// calls. A layer takes a request apart to replace its body.
///
/// ```
/// use wawo::{Body, Request};
///
/// fn without_messages(request: Request) -> Request {
///     let (parts, _body) = request.into_parts();
///     Request::from_parts(parts, Body::One(Default::default()))
/// }
/// ```
pub struct RequestParts(UniqueArc<RequestHead>);

impl RequestParts {
    /// See [`Request::service`].
    pub fn service(&self) -> ServiceId {
        self.0.service
    }

    /// See [`Request::method`].
    pub fn method(&self) -> MethodId {
        self.0.method
    }

    /// See [`Request::descriptor`].
    pub fn descriptor(&self) -> Option<&MethodDescriptor> {
        self.0.descriptor()
    }

    /// See [`Request::deadline`].
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// See [`Request::metadata`].
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// See [`Request::metadata_mut`].
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.0.metadata
    }

    /// See [`Request::extensions`].
    pub fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }

    /// See [`Request::extensions_mut`].
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.0.extensions
    }

    pub(crate) fn head(&self) -> &RequestHead {
        &self.0
    }

    pub(super) fn head_mut(&mut self) -> &mut RequestHead {
        &mut self.0
    }
}

impl Request {
    /// The parts, and the messages.
    pub fn into_parts(self) -> (RequestParts, Body) {
        let (head, body) = self.into_head();
        (RequestParts(head), body)
    }

    /// A request with these parts and messages.
    pub fn from_parts(parts: RequestParts, body: Body) -> Self {
        Self {
            head: parts.0,
            body,
        }
    }
}

impl fmt::Debug for RequestParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestParts")
            .field("service", &self.0.service)
            .field("method", &self.0.method)
            .field("metadata", &self.0.metadata)
            .field("deadline", &self.0.deadline)
            .finish_non_exhaustive()
    }
}
