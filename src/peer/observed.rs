//! The observers of a peer: of the calls that this side makes to it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use wawo_protocol::{MessageBytes, Side};

use crate::{
    body::Body,
    call_side::CallSide,
    call_target::Start,
    connection::ConnectionEvent,
    descriptor::{MethodDescriptor, MethodIds, Shape},
    observe::{FarEnd, Measure, Observers, RetryCount},
    peer::{handle::Handle, link::Link},
    peer_id::PeerId,
    request::Request,
    response_future::{ResponseFuture, observe},
    transport::Address,
};

/// The observers of a peer. The peer counts in their metrics from its first connection to its end.
#[derive(Debug)]
pub(super) struct PeerObservers {
    observers: Arc<Observers>,
    far_end: Arc<FarEnd>,
    side: Side,
    is_counted: AtomicBool,
}

impl PeerObservers {
    /// The observers of a new peer. `side` is that of this program.
    pub(super) fn new(
        observers: Arc<Observers>,
        side: Side,
        id: PeerId,
        address: Option<&Address>,
    ) -> Self {
        Self {
            observers,
            far_end: Arc::new(FarEnd::native(Some(id), address)),
            side,
            is_counted: AtomicBool::new(false),
        }
    }

    /// Counts the peer by an event of it, which may come again.
    pub(super) fn connection_changed(&self, event: &ConnectionEvent) {
        let Some(metrics) = self.observers.metrics() else {
            return;
        };
        match event {
            ConnectionEvent::Opened if !self.is_counted.swap(true, Ordering::Relaxed) => {
                metrics.peer_opened(self.side);
            }
            ConnectionEvent::Ended(_) if self.is_counted.swap(false, Ordering::Relaxed) => {
                metrics.peer_ended(self.side);
            }
            _ => {}
        }
    }
}

/// A peer whose runtime has ended reports no end.
impl Drop for PeerObservers {
    fn drop(&mut self) {
        if let Some(metrics) = self.observers.metrics()
            && *self.is_counted.get_mut()
        {
            metrics.peer_ended(self.side);
        }
    }
}

impl Handle {
    /// Starts a call that is observed.
    pub(super) fn start_observed(
        self: Arc<Self>,
        observers: &PeerObservers,
        mut request: Request,
    ) -> ResponseFuture {
        if let Link::Redial(_) = self.link() {
            request.extensions_mut().insert(RetryCount::default());
        }
        let PeerObservers {
            observers, far_end, ..
        } = observers;
        observe(CallSide::Client, observers, far_end, request, |request| {
            self.begin(request)
        })
    }

    /// Starts a call with nothing but a message that is observed.
    pub(super) fn start_plain_observed(
        self: Arc<Self>,
        method: &MethodDescriptor,
        message: MessageBytes,
    ) -> ResponseFuture {
        let Some(PeerObservers {
            observers, far_end, ..
        }) = self.observers()
        else {
            return self.begin_plain(method, message);
        };
        if observers.has_hooks() {
            return self.start(Request::new(method, Body::One(message)));
        }
        let series = observers.series(CallSide::Client, far_end.protocol, Some(method));
        let ids = MethodIds {
            service: method.service(),
            method: method.id(),
        };
        let measure = Measure::begin(observers, ids, series, message.len());
        let reply = self.begin_plain(method, message);
        match method.shape() {
            Shape::OneWay => reply.sent(measure),
            _ => reply.measured(measure),
        }
    }
}
