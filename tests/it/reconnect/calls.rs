//! Calls while there is no connection.

use std::{future::poll_fn, sync::atomic::Ordering, time::Duration};

use futures::FutureExt;
use tokio::time::Instant;
use tower::Service;
use wawo::{Code, Config, Delivery, Metrics, Peer, Reconnect, Streaming};

use super::{
    SECOND, connected,
    gate::{Gate, Mode},
    reconnect, until,
};
use crate::support::{EchoClient, message};

/// A peer that was connected, and whose gate refuses since.
async fn cut_off(gate: &Gate, settings: Reconnect) -> Peer {
    let peer = connected(gate, settings).await;
    let mut events = peer.events();
    gate.set(Mode::Refuse);
    gate.cut();
    until(&mut events, "try failed").await;
    peer
}

#[tokio::test(start_paused = true)]
async fn calls_fail_at_once_and_say_since_when_and_why() {
    let gate = Gate::new();
    let peer = cut_off(&gate, Reconnect::default()).await;
    let begin = Instant::now();
    let status = EchoClient::new(&peer).say(message("hi")).await.unwrap_err();
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(
        (status.code(), status.delivery()),
        (Code::Unavailable, Delivery::NotSent)
    );
    assert_eq!(status.address().unwrap().to_string(), "gate://home");
    for part in [
        "the call was not sent: no connection for ",
        "it ended without a close packet",
        "a try to connect has failed: cannot connect to gate://home",
        "; the next try is in ",
    ] {
        assert!(status.message().contains(part), "{status}");
    }
    let status = EchoClient::new(&peer)
        .note(message("hi"))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), status.delivery()),
        (Code::Unavailable, Delivery::NotSent)
    );
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_are_made_over_the_next_connection() {
    let gate = Gate::new();
    let peer = cut_off(&gate, Reconnect::default()).await;
    let echo = EchoClient::new(&peer);
    let waiting = tokio::spawn(
        echo.say(message("hi"))
            .wait_for_ready(true)
            .timeout(600 * SECOND),
    );
    let stream = Streaming::new(futures::stream::iter([Ok(message("a")), Ok(message("b"))]));
    let joined = echo.join(stream).wait_for_ready(true);
    let joined = tokio::spawn(joined.into_future());
    let sent = tokio::spawn(
        echo.note(message("note"))
            .wait_for_ready(true)
            .timeout(600 * SECOND),
    );
    tokio::task::yield_now().await;
    assert_eq!(peer.snapshot().await.calls_out, 3);
    gate.set(Mode::Open);
    assert_eq!(waiting.await.unwrap().unwrap().data, "hi");
    assert_eq!(joined.await.unwrap().unwrap().data, "ab");
    sent.await.unwrap().unwrap();
    gate.seen()
        .until(|seen| seen.notes.load(Ordering::SeqCst) == 1)
        .await;
    assert_eq!(peer.snapshot().await.calls_out, 0);
}

#[tokio::test(start_paused = true)]
async fn one_call_of_a_peer_that_waits_may_fail_at_once() {
    let gate = Gate::new();
    let peer = cut_off(&gate, reconnect(|it| it.wait_for_ready(true))).await;
    let hasty = EchoClient::new(&peer)
        .say(message("hi"))
        .wait_for_ready(false);
    let status = hasty.await.unwrap_err();
    assert_eq!(
        (status.code(), status.delivery()),
        (Code::Unavailable, Delivery::NotSent)
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_ends_at_its_deadline() {
    let gate = Gate::new();
    let peer = cut_off(&gate, reconnect(|it| it.wait_for_ready(true))).await;
    let echo = EchoClient::new(&peer);
    for (call, timeout, setting) in [
        (
            echo.say(message("hi")).timeout(3 * SECOND),
            3 * SECOND,
            "(timeout of the call)",
        ),
        (
            echo.say(message("hi")),
            10 * SECOND,
            "(default_timeout, 10s)",
        ),
    ] {
        let begin = Instant::now();
        let status = call.await.unwrap_err();
        let late = begin.elapsed() - timeout;
        assert!(late < Duration::from_millis(100), "{late:?}");
        assert_eq!(
            (status.code(), status.delivery()),
            (Code::DeadlineExceeded, Delivery::NotSent)
        );
        let text = status.message();
        assert!(
            text.contains("while the call waited for a connection"),
            "{text}"
        );
        assert!(text.contains(setting), "{text}");
        assert!(text.contains("tries to connect have failed"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn further_calls_than_the_limit_do_not_wait() {
    let gate = Gate::new();
    let settings = reconnect(|it| it.wait_for_ready(true).max_calls_without_connection(2));
    let peer = cut_off(&gate, settings).await;
    let echo = EchoClient::new(&peer);
    let mut waiting: Vec<_> = (0..2).map(|_| echo.say(message("hi")).boxed()).collect();
    for call in &mut waiting {
        assert!(futures::poll!(call).is_pending());
    }
    let status = echo.say(message("one more")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.delivery()),
        (Code::ResourceExhausted, Delivery::NotSent)
    );
    let text = "2 calls wait for a connection already (max_calls_without_connection)";
    assert!(status.message().contains(text), "{status}");
    // A call that is dropped leaves its place to the next.
    waiting.pop();
    assert!(futures::poll!(echo.say(message("hi")).boxed()).is_pending());
    gate.set(Mode::Open);
    assert_eq!(waiting.pop().unwrap().await.unwrap().data, "hi");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_sent_is_not_made_again() {
    let gate = Gate::new();
    let peer = connected(&gate, reconnect(|it| it.wait_for_ready(true))).await;
    let held = tokio::spawn(EchoClient::new(&peer).act(message("hold")).into_future());
    gate.seen()
        .until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    gate.cut();
    let status = held.await.unwrap().unwrap_err();
    assert_eq!(
        (status.code(), status.delivery()),
        (Code::Unavailable, Delivery::Unknown)
    );
    assert!(
        status
            .message()
            .contains("was sent and may have been served"),
        "{status}"
    );
    assert_eq!(
        EchoClient::new(&peer)
            .say(message("hi"))
            .await
            .unwrap()
            .data,
        "hi"
    );
    assert_eq!(gate.seen().begun.load(Ordering::SeqCst), 1);
}

/// More calls than a connection sends and its mailbox takes, while the other side reads nothing.
const MANY: usize = 4_000;

#[tokio::test(start_paused = true)]
async fn calls_that_a_connection_took_and_did_not_send_are_made_over_the_next() {
    let gate = Gate::new();
    let peer = connected(&gate, reconnect(|it| it.wait_for_ready(true))).await;
    let echo = EchoClient::new(&peer);
    gate.stall();
    let say = || echo.say(message(vec![b'x'; 4_000])).timeout(600 * SECOND);
    let calls: Vec<_> = (0..MANY)
        .map(|_| tokio::spawn(say().into_future()))
        .collect();
    tokio::time::sleep(SECOND).await;
    gate.cut();
    let (mut replied, mut perhaps) = (0, 0);
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => replied += 1,
            Err(status) => {
                assert_eq!(status.delivery(), Delivery::Unknown, "{status}");
                perhaps += 1;
            }
        }
    }
    assert!(replied > 0 && perhaps > 0, "{replied} {perhaps}");
    assert_eq!(gate.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn metrics_count_how_often_calls_were_made_again() {
    let (gate, metrics) = (Gate::new(), Metrics::new());
    let builder = gate.builder().metrics(&metrics);
    let builder = builder.reconnect(reconnect(|it| it.wait_for_ready(true)));
    let echo = EchoClient::new(&builder.connect().await.unwrap());
    gate.stall();
    let say = || echo.say(message(vec![b'x'; 4_000]));
    let calls: Vec<_> = (0..MANY)
        .map(|_| tokio::spawn(say().into_future()))
        .collect();
    tokio::time::sleep(SECOND).await;
    gate.cut();
    for call in calls {
        let _ = call.await.unwrap();
    }
    let snapshot = metrics.snapshot();
    let [say] = &snapshot.methods[..] else {
        panic!("{snapshot:?}");
    };
    assert_eq!(say.started, MANY as u64);
    assert!(say.retries > 0, "{say:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_that_a_connection_took_and_did_not_send_go_over_the_next() {
    let little = Config::builder().request_credit_bytes(128 * 1024);
    let gate = Gate::with(little.build().unwrap());
    let peer = connected(&gate, reconnect(|it| it.wait_for_ready(true))).await;
    let echo = EchoClient::new(&peer);
    gate.stall();
    // The connection sends messages until it has no credit. Later ones wait in it, in its mailbox, and in the
    // line before that.
    let note = |number: usize| {
        let length = if number.is_multiple_of(2) { 4_000 } else { 500 };
        echo.note(message(vec![b'x'; length])).timeout(600 * SECOND)
    };
    let messages: Vec<_> = (0..MANY)
        .map(|number| tokio::spawn(note(number).into_future()))
        .collect();
    tokio::time::sleep(SECOND).await;
    assert!(messages.iter().any(|message| !message.is_finished()));
    gate.cut();
    for message in messages {
        message.await.unwrap().unwrap();
    }
    tokio::time::sleep(SECOND).await;
    // As many are lost as the credit allows.
    let lost = MANY - gate.seen().notes.load(Ordering::SeqCst);
    assert!((1..=100).contains(&lost), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_calls_wait_is_ready_when_it_is_connected() {
    let gate = Gate::new();
    let mut peer = cut_off(&gate, reconnect(|it| it.wait_for_ready(true))).await;
    let mut ready = Box::pin(poll_fn(|cx| peer.poll_ready(cx)));
    assert!(futures::poll!(ready.as_mut()).is_pending());
    gate.set(Mode::Open);
    ready.await.unwrap();
    drop(peer);

    let gate = Gate::new();
    let mut peer = cut_off(&gate, Reconnect::default()).await;
    let status = poll_fn(|cx| peer.poll_ready(cx)).await.unwrap_err();
    assert_eq!(
        (status.code(), status.delivery()),
        (Code::Unavailable, Delivery::NotSent)
    );
    peer.close("done");
    peer.closed().await;
    assert!(poll_fn(|cx| peer.poll_ready(cx)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_asks_for_readiness_is_not_stuck() {
    let gate = Gate::new();
    let mut peer = cut_off(&gate, reconnect(|it| it.wait_for_ready(true))).await;
    let begin = Instant::now();
    poll_fn(|cx| peer.poll_ready(cx)).await.unwrap();
    assert!(
        begin.elapsed() >= 10 * SECOND,
        "the default timeout of a call"
    );
}
