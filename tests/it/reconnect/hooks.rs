//! The function that runs over each new connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use wawo::{Code, ConnectError, Peer, PeerBuilder, PeerEvent, Reconnect, Status};

use super::{
    SECOND,
    gate::{Gate, Mode},
    reconnect, until,
};
use crate::support::{EchoClient, message};

/// Counts the connections over which the hook has ended.
fn with_count(builder: PeerBuilder) -> (PeerBuilder, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let builder = builder.on_connect(move |peer: Peer| {
        let count = counted.clone();
        async move {
            EchoClient::new(&peer).say(message("register")).await?;
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    (builder, count)
}

#[tokio::test(start_paused = true)]
async fn the_hook_runs_over_each_connection_before_other_calls() {
    let gate = Gate::new();
    let (builder, count) = with_count(gate.builder());
    let settings = reconnect(|it| it.wait_for_ready(true));
    let peer = builder.reconnect(settings).connect().await.unwrap();
    let mut events = peer.events();
    for connections in 1..=3 {
        assert_eq!(count.load(Ordering::SeqCst), connections);
        gate.cut();
        until(&mut events, "lost").await;
        EchoClient::new(&peer).say(message("hi")).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn calls_of_others_are_not_made_before_the_hook_has_ended() {
    let (gate, go_on) = (Gate::new(), Arc::new(Notify::new()));
    let hold = go_on.clone();
    let builder = gate.builder().on_connect(move |peer| {
        let hold = hold.clone();
        async move {
            EchoClient::new(&peer).act(message("in the hook")).await?;
            hold.notified().await;
            Ok(())
        }
    });
    let peer = builder.connect_lazy().unwrap();
    let mut events = peer.events();
    gate.seen()
        .until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    let echo = EchoClient::new(&peer);
    let status = echo.say(message("early")).await.unwrap_err();
    assert!(status.message().contains("not connected yet"), "{status}");
    let waiting = tokio::spawn(
        echo.act(message("waits"))
            .wait_for_ready(true)
            .into_future(),
    );
    tokio::time::sleep(SECOND).await;
    assert_eq!(gate.seen().begun.load(Ordering::SeqCst), 1);
    go_on.notify_one();
    until(&mut events, "connected").await;
    assert_eq!(waiting.await.unwrap().unwrap().data, "waits");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_closes_the_connection_and_counts_as_a_failed_try() {
    let gate = Gate::new();
    let builder = || {
        let calls = AtomicUsize::new(0);
        gate.builder().on_connect(move |_| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            async move {
                match call {
                    0 => Err(Status::permission_denied("not today")),
                    1 => panic!("as asked"),
                    2 => std::future::pending().await,
                    _ => Ok(()),
                }
            }
        })
    };
    for builder in [builder(), builder().reconnect(Reconnect::default())] {
        let error = builder.connect().await.unwrap_err();
        let ConnectError::OnConnect { status, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(
            error.to_string().contains("gate://home: on_connect failed"),
            "{error}"
        );
        gate.peer().closed().await;
    }
    let peer = builder().connect_lazy().unwrap();
    let mut events = peer.events();
    for text in ["not today", "on_connect panicked", "(connect_timeout)"] {
        let PeerEvent::TryFailed(_, failed) = until(&mut events, "try failed").await else {
            unreachable!("as its name says");
        };
        assert!(failed.error.to_string().contains(text), "{}", failed.error);
        gate.peer().closed().await;
    }
    until(&mut events, "connected").await;
    assert_eq!(gate.dials(), 6);
}

/// A builder whose hook never ends, and what is notified when the hook is dropped.
fn with_endless_hook(gate: &Gate) -> (PeerBuilder, Arc<Notify>) {
    struct OnDrop(Arc<Notify>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let dropped = Arc::new(Notify::new());
    let on_drop = dropped.clone();
    let builder = gate.builder().on_connect(move |_| {
        let guard = OnDrop(on_drop.clone());
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    (builder, dropped)
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_ends_its_hook() {
    let gate = Gate::new();
    let (builder, dropped) = with_endless_hook(&gate);
    let peer = builder.connect_lazy().unwrap();
    let mut events = peer.events();
    while gate.connections() < 1 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    gate.set(Mode::Refuse);
    gate.cut();
    until(&mut events, "try failed").await;
    dropped.notified().await;
}

#[tokio::test(start_paused = true)]
async fn connect_fails_when_the_connection_ends_before_its_hook() {
    let ends_first = |gate: &Gate| {
        gate.builder().on_connect(|peer: Peer| async move {
            peer.closed().await;
            Ok(())
        })
    };
    let gate = Gate::new();
    let (endless, dropped) = with_endless_hook(&gate);
    let again = with_endless_hook(&gate).0.reconnect(Reconnect::default());
    for (number, builder) in [endless, again, ends_first(&gate)].into_iter().enumerate() {
        let (begin, connecting) = (Instant::now(), tokio::spawn(builder.connect()));
        while gate.connections() <= number {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        gate.cut();
        let error = connecting.await.unwrap().unwrap_err();
        assert!(matches!(error, ConnectError::Hello { .. }), "{error}");
        assert!(begin.elapsed() < SECOND, "{number}: {:?}", begin.elapsed());
    }
    dropped.notified().await;
}

#[tokio::test(start_paused = true)]
async fn the_peer_of_the_hook_is_bound_to_its_connection_and_keeps_nothing_open() {
    let (gate, kept) = (Gate::new(), Arc::new(std::sync::Mutex::new(None)));
    let keep = kept.clone();
    let builder = gate.builder().on_connect(move |peer: Peer| {
        peer.extensions().insert("set in the hook");
        *keep.lock().unwrap() = Some(peer);
        async { Ok(()) }
    });
    let peer = builder
        .reconnect(Reconnect::default())
        .connect()
        .await
        .unwrap();
    let mut events = peer.events();
    let bound = kept.lock().unwrap().take().unwrap();
    assert_eq!(bound.id(), peer.id());
    assert_eq!(
        peer.extensions().get::<&str>().as_deref(),
        Some(&"set in the hook")
    );
    // It closes its connection, and not the peer.
    bound.close("of this connection");
    bound.closed().await;
    until(&mut events, "connected").await;
    let status = EchoClient::new(&bound)
        .say(message("old"))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let bound = kept.lock().unwrap().take().unwrap();
    drop(peer);
    bound.closed().await;
    assert!(bound.downgrade().upgrade().is_none());
}
