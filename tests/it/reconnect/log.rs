//! The log of a peer that reconnects.

use std::{future::IntoFuture, sync::atomic::Ordering};

use wawo::Reconnect;

use super::{
    SECOND, connected,
    gate::{Gate, Mode},
    reconnect, until,
};
use crate::{
    logged::Log,
    support::{EchoClient, message},
};

#[tokio::test(start_paused = true)]
async fn an_outage_has_three_lines_at_info_however_many_tries_fail() {
    let (log, _guard) = Log::begin();
    let gate = Gate::new();
    let peer = connected(&gate, Reconnect::default()).await;
    let mut events = peer.events();
    assert_eq!(log.at_info(), ["INFO connected peer=gate://home failed=0"]);
    for _ in 0..2 {
        let before = log.at_info().len();
        gate.set(Mode::Refuse);
        gate.cut();
        for _ in 0..4 {
            until(&mut events, "try failed").await;
        }
        gate.set(Mode::Open);
        until(&mut events, "connected").await;
        let begins = [
            "INFO the connection is lost peer=gate://home reason=\"lost\" error=",
            "WARN cannot connect yet; tries on peer=gate://home number=1 error=",
            "INFO connected peer=gate://home failed=4",
        ];
        let lines = log.at_info().split_off(before);
        assert_eq!(lines.len(), begins.len(), "{lines:?}");
        for (line, begin) in lines.iter().zip(begins) {
            assert!(line.starts_with(begin), "{line}");
        }
        assert!(lines[0].contains(" wait="), "{lines:?}");
    }
    assert_eq!(log.lines("a further try to connect has failed").len(), 6);
}

#[tokio::test(start_paused = true)]
async fn the_last_try_is_a_warning() {
    let (log, _guard) = Log::begin();
    let gate = Gate::new();
    let peer = connected(&gate, reconnect(|builder| builder.max_tries(Some(2)))).await;
    gate.set(Mode::Refuse);
    gate.cut();
    peer.closed().await;
    let lines = log.lines("cannot connect, and tries no more peer=gate://home number=2 error=");
    assert_eq!(lines.len(), 1, "{log:?}");
    assert!(lines[0].starts_with("WARN"), "{lines:?}");
}

/// A server that drains keeps the connection while a call is in flight, and the peer has another by then.
#[tokio::test(start_paused = true)]
async fn a_planned_move_is_quiet() {
    let gate = Gate::new();
    let peer = connected(&gate, Reconnect::default()).await;
    let held = tokio::spawn(EchoClient::new(&peer).act(message("hold")).into_future());
    gate.seen()
        .until(|seen| seen.begun.load(Ordering::SeqCst) > 0)
        .await;
    let (log, _guard) = Log::begin();
    let mut events = peer.events();
    let drain = gate.peer();
    let drained = tokio::spawn(async move { drain.drain(60 * SECOND).await });
    until(&mut events, "connected").await;
    gate.seen().release.notify_one();
    held.await.unwrap().unwrap();
    drained.await.unwrap();
    let expected = "DEBUG moved to a new connection peer=gate://home";
    assert_eq!(log.of("wawo::peer"), [expected]);
    assert!(log.at_info().is_empty(), "{log:?}");
}
