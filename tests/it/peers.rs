//! The life of a connection: how it ends, and how that affects calls.

use std::sync::atomic::Ordering;

use wawo::{Code, Config, ConnectionError, Delivery, Limits, Peer};

use crate::support::{EchoClient, message, pair, serve};

#[tokio::test]
async fn the_connection_closes_with_the_last_peer_stub_and_call() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    drop(pair.to_server);
    let hold = tokio::spawn(echo.act(message("hold")));
    pair.at_server
        .until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    drop(echo);
    pair.at_server.release.notify_one();
    assert_eq!(hold.await.unwrap().unwrap().data, "hold");
    let why = pair.to_client.closed().await;
    assert!(matches!(why, ConnectionError::ClosedByPeer { .. }), "{why}");
    let text = "the last handle of the peer was dropped";
    assert!(why.to_string().contains(text), "{why}");
}

#[tokio::test]
async fn a_peer_that_closes_says_why_and_ends_the_calls_in_flight() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let hold = tokio::spawn(echo.act(message("hold")));
    pair.at_server
        .until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    pair.to_client.close("moving house");
    let status = hold.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.delivery(), Delivery::Unknown);
    assert!(
        status.message().ends_with("(normal): moving house"),
        "{status}"
    );
    // The handler of a call is dropped when its caller is gone.
    pair.at_server
        .until(|seen| seen.dropped.load(Ordering::SeqCst) == 1)
        .await;
    // A call made now was certainly not sent.
    let status = echo.say(message("late")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.is_safe_to_retry());
}

#[tokio::test]
async fn a_server_that_is_dropped_closes_its_connections_and_its_port() {
    let (server, address, _) = serve("tcp://127.0.0.1:0").await;
    let peer = Peer::connect(address.clone()).await.unwrap();
    EchoClient::new(&peer).say(message("hi")).await.unwrap();
    drop(server);
    let why = peer.closed().await;
    assert!(matches!(why, ConnectionError::Lost(_)), "{why}");
    assert!(Peer::connect(address).await.is_err());
}

#[tokio::test]
async fn dropping_a_call_drops_its_handler() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let wait = tokio::spawn(echo.act(message("wait")));
    let seen = &pair.at_server;
    seen.until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    wait.abort();
    seen.until(|seen| seen.dropped.load(Ordering::SeqCst) == 1)
        .await;
    assert_eq!(echo.say(message("fine")).await.unwrap().data, "fine");
}

#[tokio::test]
async fn a_call_that_is_never_awaited_is_never_made() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    drop(echo.act(message("wait")));
    echo.say(message("after")).await.unwrap();
    assert_eq!(pair.at_server.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_panic_answers_internal_and_hurts_nobody_else() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let hold = tokio::spawn(echo.act(message("hold")));
    pair.at_server
        .until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    for what in ["panic", "yield and panic"] {
        let status = echo.act(message(what)).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), "the handler panicked");
    }
    pair.at_server.release.notify_one();
    hold.await.unwrap().unwrap();
}

#[tokio::test]
async fn values_of_the_application_last_as_long_as_the_peer() {
    let pair = pair().await;
    let peer = pair.to_client.clone();
    let value = peer.extensions().get_or_insert_with(|| "logged in");
    let same = pair.to_client.extensions().get::<&str>().unwrap();
    assert!(std::sync::Arc::ptr_eq(&value, &same));
    drop(same);
    assert!(pair.to_server.extensions().get::<&str>().is_none());
    assert!(peer.is_callable() && pair.to_server.is_callable());
    assert_eq!(
        (peer.protocol(), pair.to_server.protocol()),
        ("wawo", "wawo")
    );
    let held = std::sync::Arc::downgrade(&value);
    drop((value, peer));
    assert!(held.upgrade().is_some());
    pair.to_server.close("bye");
    pair.to_client.closed().await;
    drop(pair);
    while held.upgrade().is_some() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_claimed_name_of_a_peer_is_what_it_says() {
    let config = Config::builder().claimed_name("ada").build().unwrap();
    let pair = crate::support::pair_with(config, Config::default()).await;
    EchoClient::new(&pair.to_server)
        .say(message("hi"))
        .await
        .unwrap();
    assert_eq!(pair.to_client.claimed_name(), "ada");
    assert_eq!(pair.to_server.claimed_name(), "");
    drop(pair.server);
}

#[tokio::test]
async fn the_largest_call_can_always_be_served() {
    let config = Config::builder().max_message_bytes(64 << 20);
    assert!(config.clone().build().is_err());
    let least = (64 << 20) + Limits::default().max_metadata_bytes as usize;
    let config = config.max_opening_bytes(least).build().unwrap();
    let pair = crate::support::pair_with(config.clone(), config).await;
    // A tag of one byte and a length of four precede the data.
    let largest = vec![7; (64 << 20) - 5];
    let reply = EchoClient::new(&pair.to_server).say(message(largest)).await;
    assert_eq!(reply.unwrap().data.len(), (64 << 20) - 5);
}
