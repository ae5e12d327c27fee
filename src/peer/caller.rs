//! The peer that a handler finds in its context.

use std::sync::{Arc, OnceLock};

use crate::{
    context::Context,
    peer::{Peer, guest_link, handle::Handle},
    request::{Caller, Request, RequestParts},
};

impl Request {
    /// The peer that calls, on the called side, so that layers can authorise and limit by it. `None` on
    /// the calling side, and for a call in the same process.
    pub fn peer(&self) -> Option<Peer> {
        self.head().caller.clone().and_then(peer_of)
    }
}

impl RequestParts {
    /// See [`Request::peer`].
    pub fn peer(&self) -> Option<Peer> {
        self.head().caller.clone().and_then(peer_of)
    }
}

impl Context {
    /// The peer that calls; a handler may call it back, if it [can be
    /// called](Peer::is_callable).
    ///
    /// All callers in this process are one peer, which cannot be called, and whose connection is over: its
    /// [`protocol`](Peer::protocol) is `"in-process"`, and it keeps its
    /// [`extensions`](Peer::extensions) as long as the process.
    pub fn peer(&self) -> Peer {
        let caller = self.caller().cloned();
        caller.and_then(peer_of).unwrap_or_else(this_process)
    }
}

fn peer_of(caller: Arc<dyn Caller>) -> Option<Peer> {
    caller.into_any().downcast::<Handle>().ok().map(Peer::of)
}

/// The peer of handlers that were called in the same process.
fn this_process() -> Peer {
    static THIS_PROCESS: OnceLock<Peer> = OnceLock::new();
    THIS_PROCESS.get_or_init(guest_link::in_process).clone()
}
