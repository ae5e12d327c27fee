//! The functions that a program gives to a server, for peers that come and go.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use wawo_protocol::{CloseCode, ConnectionError};

use crate::{
    panic,
    peer::{Peer, PeerHooks, WeakPeer},
};

/// The functions of `on_connect` and `on_disconnect`, in the order in which they were added.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    connect: Vec<ConnectFn>,
    disconnect: Vec<DisconnectFn>,
}

type ConnectFn = Arc<dyn Fn(&Peer) + Send + Sync>;
type DisconnectFn = Arc<dyn Fn(&Peer, &ConnectionError) + Send + Sync>;

impl Hooks {
    pub(crate) fn add_connect(&mut self, hook: impl Fn(&Peer) + Send + Sync + 'static) {
        self.connect.push(Arc::new(hook));
    }

    pub(crate) fn add_disconnect(
        &mut self,
        hook: impl Fn(&Peer, &ConnectionError) + Send + Sync + 'static,
    ) {
        self.disconnect.push(Arc::new(hook));
    }

    /// The functions, to be shared by all peers; `None` if there are none.
    pub(crate) fn into_shared(self) -> Option<Arc<dyn PeerHooks>> {
        let is_empty = self.connect.is_empty() && self.disconnect.is_empty();
        (!is_empty).then(|| Arc::new(self) as Arc<dyn PeerHooks>)
    }
}

impl PeerHooks for Hooks {
    fn connected(&self, peer: &WeakPeer) {
        let Some(peer) = peer.upgrade() else {
            return;
        };
        for hook in &self.connect {
            let ran = catch_unwind(AssertUnwindSafe(|| hook(&peer)));
            if let Err(panic) = ran {
                report_panic("on_connect", &peer, panic.as_ref());
                // Handlers may rely on the state that the function was to set.
                peer.close_with(CloseCode::Internal, "a fault of the server");
            }
        }
    }

    fn disconnected(&self, peer: &WeakPeer, error: &ConnectionError) {
        let Some(peer) = peer.upgrade() else {
            return;
        };
        for hook in &self.disconnect {
            let ran = catch_unwind(AssertUnwindSafe(|| hook(&peer, error)));
            if let Err(panic) = ran {
                report_panic("on_disconnect", &peer, panic.as_ref());
            }
        }
    }
}

fn report_panic(hook: &str, peer: &Peer, panic: &(dyn Any + Send)) {
    let (id, from) = (peer.id(), peer.address().map(tracing::field::display));
    let text = panic::text(panic);
    tracing::error!(
        target: "wawo::server",
        hook,
        peer = %id,
        from,
        error = text,
        "a hook panicked"
    );
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (connect, disconnect) = (self.connect.len(), self.disconnect.len());
        write!(f, "Hooks({connect} on_connect, {disconnect} on_disconnect)")
    }
}
