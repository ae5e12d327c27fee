//! The identities of the connections of a peer: they end with their connections.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use wawo::{Reconnect, Status};

use super::{gate::Gate, until};

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
