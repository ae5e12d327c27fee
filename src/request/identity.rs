//! The identity of a call, or of the peer that makes it.

use crate::{
    identity::Identity,
    request::{Request, RequestHead, RequestParts},
};

impl Request {
    /// The proven identity of the caller, on the called side: see [`Context::identity`].
    ///
    /// [`Context::identity`]: crate::Context::identity
    pub fn identity<U: Send + Sync + 'static>(&self) -> Option<&U> {
        self.head.identity()
    }

    /// Sets the identity of this call; it comes before that of the peer. For protocols whose connections
    /// carry the calls of many callers, and for layers that check a token of each call. It does not travel:
    /// it is of use where the request is served in this process.
    pub fn set_identity(&mut self, identity: Identity) {
        self.head.set_identity(identity);
    }
}

impl RequestParts {
    /// See [`Request::identity`].
    pub fn identity<U: Send + Sync + 'static>(&self) -> Option<&U> {
        self.head().identity()
    }

    /// See [`Request::set_identity`].
    pub fn set_identity(&mut self, identity: Identity) {
        self.head_mut().set_identity(identity);
    }
}

impl RequestHead {
    /// The identity of the call, or else of its peer, if it has this type.
    pub(crate) fn identity<U: Send + Sync + 'static>(&self) -> Option<&U> {
        self.any_identity()?.get()
    }

    /// The identity of the call, or else of its peer.
    pub(crate) fn any_identity(&self) -> Option<&Identity> {
        let of_call = self
            .lazy_parts
            .get()
            .and_then(|parts| parts.identity.as_ref());
        of_call.or_else(|| self.caller.as_ref()?.identity())
    }

    pub(crate) fn set_identity(&mut self, identity: Identity) {
        self.lazy_parts();
        if let Some(parts) = self.lazy_parts.get_mut() {
            parts.identity = Some(identity);
        }
    }
}
