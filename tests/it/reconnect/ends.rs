//! A peer that is closed, dropped or drained stays so, in whichever state it was.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;
use wawo::{Code, ConnectionError, Delivery, Peer, Reconnect};

use super::{
    SECOND, connected,
    gate::{Gate, Mode},
    reconnect, until,
};
use crate::support::{EchoClient, message};

/// A state in which a peer may be.
#[derive(Debug, Clone, Copy)]
enum Case {
    Connected,
    Waiting,
    Dialling,
    /// There is a connection, and a try for another is under way.
    Switching,
    /// The hook of a new connection runs.
    InHook,
}

const CASES: [Case; 5] = [
    Case::Connected,
    Case::Waiting,
    Case::Dialling,
    Case::Switching,
    Case::InHook,
];

/// A peer in this state.
async fn peer_in(case: Case, gate: &Gate) -> Peer {
    let connections = std::sync::atomic::AtomicUsize::new(0);
    let builder = gate.builder().on_connect(move |_| {
        let is_first = connections.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if !is_first {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    let settings = reconnect(|it| it.wait_for_ready(true));
    let peer = builder.reconnect(settings).connect().await.unwrap();
    let mut events = peer.events();
    match case {
        Case::Connected => {}
        Case::Waiting => {
            gate.set(Mode::Refuse);
            gate.cut();
            until(&mut events, "try failed").await;
        }
        Case::Dialling => {
            gate.set(Mode::Hold);
            gate.cut();
            until(&mut events, "lost").await;
        }
        Case::Switching => {
            gate.set(Mode::Hold);
            peer.reconnect();
        }
        Case::InHook => gate.cut(),
    }
    while !matches!(case, Case::Connected) && gate.dials() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    peer
}

/// Checks that the peer dials no more, and that the server has no connection of it.
async fn is_quiet(gate: &Gate, case: Case) {
    let dials = gate.dials();
    let at_server = gate.peer();
    gate.set(Mode::Open);
    tokio::time::timeout(SECOND, at_server.closed())
        .await
        .unwrap_or_else(|_| panic!("{case:?}"));
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(gate.dials(), dials, "{case:?}");
}

#[tokio::test(start_paused = true)]
async fn a_closed_peer_stays_closed() {
    for case in CASES {
        let gate = Gate::new();
        let peer = peer_in(case, &gate).await;
        let mut events = peer.events();
        let waiting = EchoClient::new(&peer).say(message("hi"));
        let waiting = tokio::spawn(waiting.into_future());
        if !matches!(case, Case::Connected | Case::Switching) {
            tokio::task::yield_now().await;
        }
        peer.close("enough");
        let begin = Instant::now();
        assert!(
            matches!(peer.closed().await, ConnectionError::ClosedHere),
            "{case:?}"
        );
        assert!(begin.elapsed() < SECOND, "{case:?}");
        until(&mut events, "disconnected").await;
        let status = waiting.await.unwrap().unwrap_err();
        assert_eq!(
            (status.code(), status.delivery()),
            (Code::Unavailable, Delivery::NotSent)
        );
        peer.reconnect();
        is_quiet(&gate, case).await;
        let status = EchoClient::new(&peer).say(message("hi")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(events.next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_dropped_dials_no_more() {
    for case in CASES {
        let gate = Gate::new();
        let peer = peer_in(case, &gate).await;
        let (weak, mut events) = (peer.downgrade(), peer.events());
        drop(peer);
        until(&mut events, "disconnected").await;
        assert!(weak.upgrade().is_none(), "{case:?}");
        is_quiet(&gate, case).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_drained_peer_ends_with_its_calls_and_dials_no_more() {
    for case in CASES {
        let gate = Gate::new();
        let peer = peer_in(case, &gate).await;
        let begin = Instant::now();
        let report = peer.drain(5 * SECOND).await;
        assert!(begin.elapsed() < SECOND, "{case:?}");
        assert_eq!((report.finished, report.cut.len()), (0, 0), "{case:?}");
        assert!(peer.is_closed(), "{case:?}");
        is_quiet(&gate, case).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_calls_of_all_connections() {
    let gate = Gate::new();
    let peer = connected(&gate, Reconnect::default()).await;
    let (mut events, echo) = (peer.events(), EchoClient::new(&peer));
    let first = tokio::spawn(echo.act(message("hold")).into_future());
    gate.seen()
        .until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    peer.reconnect();
    until(&mut events, "connected").await;
    let second = tokio::spawn(echo.act(message("wait")).timeout(600 * SECOND));
    gate.seen()
        .until(|seen| seen.begun.load(Ordering::SeqCst) == 2)
        .await;
    gate.seen().release.notify_one();
    let report = peer.drain(2 * SECOND).await;
    assert_eq!((report.peers, report.finished), (1, 1), "{report:?}");
    assert_eq!(report.cut[0].calls, 1);
    assert_eq!(first.await.unwrap().unwrap().data, "hold");
    let status = second.await.unwrap().unwrap_err();
    assert!(
        status.message().contains("the grace of this side's drain"),
        "{status}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_keeps_the_peer_open() {
    let gate = Gate::new();
    let peer = connected(&gate, Reconnect::default()).await;
    let held = tokio::spawn(EchoClient::new(&peer).act(message("hold")).into_future());
    gate.seen()
        .until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    drop(peer);
    tokio::time::sleep(SECOND).await;
    assert!(!gate.peer().is_closed());
    gate.seen().release.notify_one();
    assert_eq!(held.await.unwrap().unwrap().data, "hold");
    gate.peer().closed().await;
}

/// A runtime that ends takes the task that dials with it: then calls end, wherever they wait.
#[test]
fn the_end_of_the_runtime_closes_the_peer() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (gate, dialling, waiting) = (Gate::new(), runtime(), runtime());
    gate.set(Mode::Hold);
    let peer = dialling.block_on(async {
        let settings = reconnect(|it| it.wait_for_ready(true));
        gate.builder().reconnect(settings).connect_lazy().unwrap()
    });
    waiting.block_on(async {
        let call = EchoClient::new(&peer).say(message("hi")).into_future();
        let call = tokio::spawn(call);
        tokio::task::yield_now().await;
        dialling.shutdown_background();
        let status = call.await.unwrap().unwrap_err();
        assert_eq!(
            (status.code(), status.delivery()),
            (Code::Unavailable, Delivery::NotSent)
        );
    });
    assert!(peer.is_closed());
}

/// A call that waits ends at its deadline, even if nobody polls the runtime that dials.
#[test]
fn a_call_that_waits_ends_while_the_runtime_of_its_peer_stands_still() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (gate, dialling) = (Gate::new(), runtime());
    let peer = dialling.block_on(async { gate.builder().connect_lazy().unwrap() });
    let call = EchoClient::new(&peer)
        .say(message("hi"))
        .wait_for_ready(true);
    let status = futures::executor::block_on(call.timeout(SECOND / 10)).unwrap_err();
    assert_eq!(
        (status.code(), status.delivery()),
        (Code::DeadlineExceeded, Delivery::NotSent)
    );
}
