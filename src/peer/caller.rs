//! The peer that a handler finds in its context.

use std::sync::OnceLock;

use crate::{
    context::Context,
    peer::{Peer, guest, handle::Handle},
};

impl Context {
    /// The peer that calls; a handler may call it back, if it [can be
    /// called](Peer::is_callable).
    ///
    /// All callers in this process are one peer, which cannot be called, and whose connection is over: its
    /// [`protocol`](Peer::protocol) is `"in-process"`, and it keeps its
    /// [`extensions`](Peer::extensions) as long as the process.
    pub fn peer(&self) -> Peer {
        let caller = self.caller().cloned();
        let handle = caller.and_then(|caller| caller.into_any().downcast::<Handle>().ok());
        handle.map_or_else(this_process, Peer)
    }
}

/// The peer of handlers that were called in the same process.
fn this_process() -> Peer {
    static THIS_PROCESS: OnceLock<Peer> = OnceLock::new();
    THIS_PROCESS.get_or_init(guest::in_process).clone()
}
