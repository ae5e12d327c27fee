//! Handlers that a server calls over the connections of a peer: each learns of the drain of its own one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use wawo::{Peer, PeerBuilder, Reconnect};

use super::{SECOND, gate::Gate, until};
use crate::support::{EchoClient, EchoServer, Parrot, Seen, message};

/// A builder of peers behind the gate that serve a parrot, and the record of that.
fn serving(gate: &Gate) -> (PeerBuilder, Arc<Seen>) {
    let parrot = Parrot::default();
    let seen = parrot.0.clone();
    let builder = Peer::builder("gate://home").connector(gate.clone());
    let builder = builder.reconnect(Reconnect::default());
    (builder.add_service(EchoServer::new(parrot)), seen)
}

async fn until_begun(seen: &Seen, handlers: usize) {
    seen.until(|seen| seen.begun.load(Ordering::SeqCst) == handlers)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_was_called_before_the_switch_to_its_connection_outlives_it() {
    let gate = Gate::new();
    let (builder, seen) = serving(&gate);
    let (hooks, seen_in_hook) = (AtomicUsize::new(0), seen.clone());
    let builder = builder.on_connect(move |_| {
        let (seen, hook) = (seen_in_hook.clone(), hooks.fetch_add(1, Ordering::SeqCst));
        async move {
            until_begun(&seen, hook).await;
            Ok(())
        }
    });
    let peer = builder.connect().await.unwrap();
    let mut events = peer.events();
    peer.reconnect();
    while gate.connections() < 2 {
        tokio::task::yield_now().await;
    }
    let new = gate.peer();
    let call = EchoClient::new(&new).act(message("until draining"));
    let call = tokio::spawn(call.timeout(600 * SECOND).into_future());
    until(&mut events, "connected").await;
    tokio::time::sleep(SECOND).await;
    assert!(!call.is_finished(), "{:?}", call.await);
    new.drain(60 * SECOND).await;
    assert_eq!(call.await.unwrap().unwrap().data, "until draining");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_asks_late_learns_that_its_connection_drains() {
    let gate = Gate::new();
    let (builder, seen) = serving(&gate);
    let peer = builder.connect().await.unwrap();
    let (mut events, old) = (peer.events(), gate.peer());
    let call = EchoClient::new(&old).act(message("hold until draining"));
    let call = tokio::spawn(call.timeout(600 * SECOND).into_future());
    until_begun(&seen, 1).await;
    peer.reconnect();
    until(&mut events, "connected").await;
    seen.release.notify_one();
    assert_eq!(call.await.unwrap().unwrap().data, "hold until draining");
    old.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_program_learns_that_the_connection_of_its_calls_drains() {
    let gate = Gate::new();
    let (builder, _) = serving(&gate);
    let peer = builder.connect().await.unwrap();
    let mut events = peer.events();
    for _ in 0..2 {
        let mut draining = Box::pin(peer.draining());
        assert!(futures::poll!(&mut draining).is_pending());
        peer.reconnect();
        until(&mut events, "connected").await;
        draining.await;
    }
    gate.cut();
    until(&mut events, "lost").await;
    let mut draining = Box::pin(peer.draining());
    until(&mut events, "connected").await;
    tokio::time::sleep(SECOND).await;
    assert!(futures::poll!(&mut draining).is_pending());
    peer.close("done");
    draining.await;
}
