//! When a peer dials, and its events.

use std::time::Duration;

use tokio::time::{Instant, advance};
use wawo::{
    Code, ConnectError, MethodDescriptor, MethodId, PeerEvent, Reconnect, ServiceDescriptor,
    ServiceId, Shape, codegen,
};

use super::{
    SECOND, connected,
    gate::{Gate, Mode},
    name, reconnect, until,
};
use crate::support::{EchoClient, message};

#[tokio::test(start_paused = true)]
async fn a_peer_its_stubs_and_its_services_outlive_connections() {
    let gate = Gate::new();
    let peer = connected(&gate, Reconnect::default()).await;
    let (id, mut events, echo) = (peer.id(), peer.events(), EchoClient::new(&peer));
    peer.extensions().insert(7_u8);
    for dials in 1..=5 {
        assert_eq!(echo.say(message("hi")).await.unwrap().data, "hi");
        // The server calls this side back, over the same connection.
        assert_eq!(echo.act(message("call back")).await.unwrap().data, "back");
        assert_eq!((peer.id(), gate.dials()), (id, dials));
        assert_eq!(peer.extensions().get::<u8>().as_deref(), Some(&7));
        gate.cut();
        until(&mut events, "lost").await;
        until(&mut events, "connected").await;
    }
    assert!(!peer.is_closed());
}

#[tokio::test(start_paused = true)]
async fn connect_returns_the_error_of_the_first_try() {
    let gate = Gate::new();
    gate.set(Mode::Refuse);
    let connecting = gate.builder().reconnect(Reconnect::default()).connect();
    let error = connecting.await.unwrap_err();
    assert!(matches!(error, ConnectError::Transport { .. }), "{error}");
    advance(60 * SECOND).await;
    tokio::task::yield_now().await;
    assert_eq!(gate.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lazy_peer_is_there_before_its_server() {
    let gate = Gate::new();
    gate.set(Mode::Refuse);
    let peer = gate.builder().connect_lazy().unwrap();
    let mut events = peer.events();
    for number in 1..=4 {
        let PeerEvent::TryFailed(_, failed) = until(&mut events, "try failed").await else {
            unreachable!("as its name says");
        };
        assert_eq!(failed.number, number);
        assert_eq!(failed.address.unwrap().to_string(), "gate://home");
        assert!(
            failed.error.to_string().contains("gate://home"),
            "{}",
            failed.error
        );
        let bound = SECOND * 2_u32.pow(number - 1);
        assert!(
            failed.wait.is_some_and(|wait| wait < bound),
            "{:?}",
            failed.wait
        );
    }
    gate.set(Mode::Open);
    until(&mut events, "connected").await;
    assert_eq!(
        EchoClient::new(&peer)
            .say(message("hi"))
            .await
            .unwrap()
            .data,
        "hi"
    );
}

#[tokio::test(start_paused = true)]
async fn wrong_addresses_and_settings_fail_at_once_for_lazy_peers_too() {
    let error = wawo::Peer::builder("no address")
        .connect_lazy()
        .unwrap_err();
    assert!(matches!(error, ConnectError::Address(_)), "{error}");
    let error = wawo::Peer::builder("unknown://it")
        .connect_lazy()
        .unwrap_err();
    assert!(matches!(error, ConnectError::NoConnector { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn events_come_in_order_and_the_last_says_that_the_peer_is_over() {
    let gate = Gate::new();
    let peer = connected(&gate, Reconnect::default()).await;
    let mut events = peer.events();
    gate.set(Mode::Refuse);
    gate.cut();
    let mut names = Vec::new();
    while let Some(event) = events.next().await {
        names.push(name(&event));
        match names.len() {
            3 => gate.set(Mode::Open),
            _ if names.last() == Some(&"connected") => peer.close("done"),
            _ => {}
        }
    }
    let expected = [
        "lost",
        "try failed",
        "try failed",
        "connected",
        "disconnected",
    ];
    assert_eq!(names, expected);
    assert!(peer.is_closed());
}

#[tokio::test(start_paused = true)]
async fn the_last_allowed_try_closes_the_peer() {
    let gate = Gate::new();
    let peer = connected(&gate, reconnect(|it| it.max_tries(Some(3)))).await;
    gate.set(Mode::Refuse);
    gate.cut();
    let error = peer.closed().await;
    let text = error.to_string();
    assert!(
        text.contains("3 tries to connect have failed, at last: cannot connect"),
        "{text}"
    );
    assert_eq!(gate.dials(), 4);
    let status = EchoClient::new(&peer)
        .say(message("late"))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("3 tries to connect"), "{status}");
    assert!(status.is_safe_to_retry());
}

#[tokio::test(start_paused = true)]
async fn connections_that_do_not_last_make_a_peer_wait_longer() {
    let gate = Gate::new();
    let settings = reconnect(|it| it.max_wait(64 * SECOND));
    let peer = connected(&gate, settings).await;
    let (mut events, begin) = (peer.events(), Instant::now());
    // Of 40 waits at the first step all together would take 20 s, and hardly more than 30 s.
    for _ in 0..40 {
        gate.cut();
        until(&mut events, "connected").await;
    }
    assert!(begin.elapsed() > 300 * SECOND, "{:?}", begin.elapsed());
    // A connection that lasts lets the waits begin anew.
    tokio::time::sleep(11 * SECOND).await;
    let begin = Instant::now();
    gate.cut();
    until(&mut events, "connected").await;
    assert!(begin.elapsed() < SECOND + Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_hint_dials_at_once_and_the_old_connection_is_drained() {
    let gate = Gate::new();
    let settings = reconnect(|it| it.first_wait(3_600 * SECOND).max_wait(3_600 * SECOND));
    let peer = connected(&gate, settings).await;
    let (mut events, begin) = (peer.events(), Instant::now());
    let old = gate.peer();
    // With a connection.
    let held = tokio::spawn(EchoClient::new(&peer).act(message("hold")).into_future());
    gate.seen()
        .until(|seen| seen.begun.load(std::sync::atomic::Ordering::SeqCst) == 1)
        .await;
    peer.reconnect();
    until(&mut events, "connected").await;
    assert_eq!(gate.dials(), 2);
    assert!(!old.is_closed(), "a call is in flight");
    assert_eq!(
        EchoClient::new(&peer)
            .say(message("new"))
            .await
            .unwrap()
            .data,
        "new"
    );
    gate.seen().release.notify_one();
    assert_eq!(held.await.unwrap().unwrap().data, "hold");
    old.closed().await;
    // While it waits.
    gate.cut();
    until(&mut events, "lost").await;
    peer.reconnect();
    until(&mut events, "connected").await;
    assert!(begin.elapsed() < SECOND, "{:?}", begin.elapsed());
    // While a try hangs: it begins anew when it is a second old, however many hints there are.
    gate.set(Mode::Hold);
    peer.reconnect();
    while gate.dials() < 4 {
        tokio::task::yield_now().await;
    }
    gate.set(Mode::Open);
    let begin = Instant::now();
    for _ in 0..10 {
        peer.reconnect();
        tokio::task::yield_now().await;
    }
    until(&mut events, "connected").await;
    assert_eq!(gate.dials(), 5);
    assert!((SECOND..2 * SECOND).contains(&begin.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drains_gets_its_peer_back_over_another_connection() {
    let gate = Gate::new();
    let peer = connected(&gate, reconnect(|it| it.wait_for_ready(true))).await;
    let (mut events, echo) = (peer.events(), EchoClient::new(&peer));
    let held = tokio::spawn(echo.act(message("hold")).into_future());
    gate.seen()
        .until(|seen| seen.begun.load(std::sync::atomic::Ordering::SeqCst) == 1)
        .await;
    let draining = tokio::spawn({
        let peer = peer.clone();
        async move { peer.draining().await }
    });
    tokio::task::yield_now().await;
    let old = gate.peer();
    let drain = tokio::spawn(async move { old.drain(60 * SECOND).await });
    until(&mut events, "draining").await;
    draining.await.unwrap();
    // It is refused by the old connection, and waits for the new one.
    assert_eq!(echo.say(message("hi")).await.unwrap().data, "hi");
    assert_eq!(gate.dials(), 2);
    assert!(!held.is_finished());
    gate.seen().release.notify_one();
    assert_eq!(held.await.unwrap().unwrap().data, "hold");
    let report = drain.await.unwrap();
    assert_eq!((report.finished, report.cut.len()), (1, 0));
    assert!(!peer.is_closed());
}

#[tokio::test(start_paused = true)]
async fn the_schemas_of_stubs_are_compared_over_each_connection() {
    let gate = Gate::new();
    let peer = connected(&gate, Reconnect::default()).await;
    let mut events = peer.events();
    let shout = MethodDescriptor::builder("Shout", Shape::Unary).id(MethodId(70));
    let later = ServiceDescriptor::builder("tests.echo.Echo").id(ServiceId(7));
    let later = later.method(shout).build().unwrap();
    let _stub = codegen::start(&peer, &later);
    until(&mut events, "schema differs").await;
    for _ in 0..2 {
        gate.cut();
        until(&mut events, "lost").await;
        until(&mut events, "schema differs").await;
        until(&mut events, "connected").await;
    }
}
