//! The identities of the connections of a peer: they end with their connections.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use tokio::runtime::Builder;
use wawo::{PeerEvent, Reconnect, Status, WeakPeer};

use super::{gate::Gate, reconnect, until};
use crate::real_time::ends;

/// Counts the identities that have not been dropped.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn connections_whose_hook_fails_leave_nothing_behind() {
    let (gate, alive) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let count = alive.clone();
    let builder = gate.builder().authenticate(move |_| {
        let counted = Counted::new(&count);
        async { Ok(counted) }
    });
    let builder = builder.on_connect(|_| async { Err(Status::unavailable("not today")) });
    let peer = builder.reconnect(Reconnect::default());
    let peer = peer.connect_lazy().unwrap();
    let mut events = peer.events();
    for _ in 0..100 {
        until(&mut events, "try failed").await;
        // The connection of this try may not be over yet.
        let alive = alive.load(Ordering::SeqCst);
        assert!(alive <= 2, "{alive}");
    }
}

/// An identity that asks its peer when it is dropped.
struct AsksPeer(Arc<OnceLock<WeakPeer>>, Arc<AtomicUsize>);

impl Drop for AsksPeer {
    fn drop(&mut self) {
        if let Some(peer) = self.0.get().and_then(WeakPeer::upgrade) {
            let _ = (peer.claimed_name(), peer.identity::<Self>());
            peer.reconnect();
        }
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn an_identity_may_ask_its_peer_when_it_is_dropped() {
    ends(|| {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(lose_identities());
    });
}

/// Loses connections, in states in which different code drops them.
async fn lose_identities() {
    let (gate, weak) = (Gate::new(), Arc::new(OnceLock::new()));
    let dropped = Arc::new(AtomicUsize::new(0));
    let (of_peer, count) = (weak.clone(), dropped.clone());
    let builder = gate.builder().authenticate(move |_| {
        let identity = AsksPeer(of_peer.clone(), count.clone());
        async { Ok(identity) }
    });
    let settings = reconnect(|it| it.max_tries(Some(20)));
    let peer = builder.reconnect(settings).connect().await.unwrap();
    let mut events = peer.events();
    let _ = weak.set(peer.downgrade());
    for _ in 0..3 {
        gate.cut();
        until(&mut events, "connected").await;
        peer.reconnect();
        until(&mut events, "connected").await;
    }
    assert!(dropped.load(Ordering::SeqCst) > 0);
    peer.close("done");
    peer.closed().await;
    while !matches!(
        events.next().await,
        None | Some(PeerEvent::Disconnected(..))
    ) {}
}
