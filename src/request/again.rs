//! Calls that wait for a connection, and that may be made again if one did not send them.

use triomphe::UniqueArc;

use crate::{
    body::Body,
    descriptor::MethodIds,
    extensions::Extensions,
    request::{Request, RequestHead},
};

/// Whether a call waits for a connection. It is an extension, because few calls say so themselves.
#[derive(Debug)]
struct WaitForReady(bool);

impl Request {
    /// Lets the call wait, or not, while its peer is not connected, as
    /// [`Call::wait_for_ready`](crate::Call::wait_for_ready) does. For layers and carriers.
    pub fn set_wait_for_ready(&mut self, wait_for_ready: bool) {
        self.extensions_mut().insert(WaitForReady(wait_for_ready));
    }

    /// Whether the call waits while its peer is not connected; `None` if its peer decides.
    pub(crate) fn waits_for_ready(&self) -> Option<bool> {
        self.extensions().get::<WaitForReady>().map(|wait| wait.0)
    }

    /// A request for the same call, in case that this one is not sent. `None` for a stream, whose
    /// messages exist once. It has no extensions, which a connection does not send.
    pub(crate) fn to_make_again(&self) -> Option<Self> {
        let Body::One(message) = self.body() else {
            return None;
        };
        let (head, body) = (self.head(), Body::One(message.clone()));
        let ids = MethodIds {
            service: head.service,
            method: head.method,
        };
        let copy = RequestHead {
            descriptor: head.descriptor.clone(),
            is_stream: head.is_stream,
            metadata: head.metadata.clone(),
            deadline: head.deadline,
            deadline_source: head.deadline_source,
            takes_default: head.takes_default,
            extensions: Extensions::default(),
            call_depth: head.call_depth,
            ..RequestHead::new(ids, head.one_way, &body)
        };
        Some(Self {
            head: UniqueArc::new(copy),
            body,
        })
    }
}
