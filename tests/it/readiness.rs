//! Peers as services of tower: when they are ready, and what layers make of it.

use std::{future::IntoFuture, sync::atomic::Ordering, time::Duration};

use futures::{FutureExt, future::join_all, poll};
use tokio::{task::JoinHandle, time::Instant};
use tower::{
    ServiceBuilder, ServiceExt, balance::p2c::Balance, buffer::BufferLayer, discover::ServiceList,
    load::Constant, load_shed::LoadShedLayer,
};
use wawo::{
    Channel, Code, Config, Delivery, DrainReport, Peer, Request, Result, Server, Streaming,
};

use crate::support::{EchoClient, Message, Pair, Seen, client_of, message, pair, pair_with};

/// A connection that takes no more calls: its slots are taken by calls whose handlers hold, and others
/// wait for them.
struct Full {
    pair: Pair,
    calls: Vec<JoinHandle<Result<Message>>>,
}

/// The settings of a client of which few calls may wait.
fn few_wait() -> Config {
    Config::builder().max_waiting_calls(2).build().unwrap()
}

async fn full(config: Config) -> Full {
    let there = Config::builder().max_calls(64).build().unwrap();
    let pair = pair_with(config, there).await;
    let echo = EchoClient::new(&pair.to_server);
    let hold = |_| tokio::spawn(echo.act(message("hold")).no_timeout().into_future());
    // The last 4 slots are reserved for calls that handlers make.
    let mut calls: Vec<_> = (0..60).map(hold).collect();
    let all_begun = |seen: &Seen| seen.begun.load(Ordering::SeqCst) == 60;
    pair.at_server.until(all_begun).await;
    // More than may wait, so that some wait for room.
    let wait = |_| tokio::spawn(echo.say(message("waits")).no_timeout().into_future());
    calls.extend((0..4).map(wait));
    let mut peer = pair.to_server.clone();
    while peer.ready().now_or_never().is_some() {
        tokio::task::yield_now().await;
    }
    Full { pair, calls }
}

impl Full {
    fn peer(&self) -> Peer {
        self.pair.to_server.clone()
    }

    /// Lets all calls end.
    async fn release(&mut self) {
        self.pair.at_server.release.notify_waiters();
        for call in self.calls.drain(..) {
            call.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_peer_with_room_is_ready_and_one_whose_connection_is_over_says_why_it_is_not() {
    let pair = pair().await;
    let mut peer = pair.to_server.clone();
    peer.ready().await.unwrap();
    peer.close("enough");
    peer.closed().await;
    let status = peer.ready().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.is_safe_to_retry(), "{status}");
    assert!(
        status.message().contains("the call was not sent"),
        "{status}"
    );
    let echo = EchoClient::new(&Channel::new(peer));
    let status = echo.say(message("")).await.unwrap_err();
    assert_eq!(status.delivery(), Delivery::NotSent);
}

#[tokio::test]
async fn a_full_peer_is_ready_when_calls_have_ended() {
    let mut full = full(few_wait()).await;
    let mut peers = [full.peer(), full.peer()];
    let [first, second] = &mut peers;
    let (mut first, mut second) = (Box::pin(first.ready()), Box::pin(second.ready()));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    // One that is dropped while it waits holds up nobody.
    drop(first);
    let waiting = async move { second.await.map(drop) };
    let (ready, ()) = tokio::join!(waiting, full.release());
    ready.unwrap();
    let echo = EchoClient::new(&Channel::new(full.peer()));
    assert_eq!(echo.say(message("after")).await.unwrap().data, "after");
}

#[tokio::test]
async fn a_peer_that_waits_and_is_never_polled_again_holds_up_nobody() {
    let mut full = full(few_wait()).await;
    let [mut kept, mut dropped] = [full.peer(), full.peer()];
    for peer in [&mut kept, &mut dropped] {
        assert!(peer.ready().now_or_never().is_none());
    }
    let mut clone = kept.clone();
    drop(dropped);
    let (ready, ()) = tokio::join!(clone.ready(), full.release());
    ready.unwrap();
    clone.ready().await.unwrap();
    // Its turn has come long ago.
    kept.ready().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_is_waited_for_tells_that_its_connection_ends() {
    let full = full(few_wait()).await;
    let mut peer = full.peer();
    let mut waiting = tokio::spawn(async move { peer.ready().await.map(drop) });
    assert!(poll!(&mut waiting).is_pending());
    full.peer().close("enough");
    let status = waiting.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.is_safe_to_retry(), "{status}");
}

#[tokio::test]
async fn a_caller_that_was_ready_and_does_not_call_takes_no_room_from_others() {
    let mut full = full(few_wait()).await;
    let mut peers: Vec<_> = (0..10).map(|_| full.peer()).collect();
    let ready = |mut peer: Peer| async move {
        peer.ready().await?;
        Ok::<_, wawo::Status>(peer)
    };
    let waiting = join_all(peers.drain(..).map(ready));
    let (kept, ()) = tokio::join!(waiting, full.release());
    assert!(kept.iter().all(Result::is_ok));
    let echo = EchoClient::new(&Channel::new(full.peer()));
    for _ in 0..10 {
        echo.say(message("on")).await.unwrap();
    }
}

#[tokio::test]
async fn load_shed_refuses_calls_of_a_full_peer_at_once() {
    let mut full = full(few_wait()).await;
    let shed = ServiceBuilder::new().layer(LoadShedLayer::new());
    let echo = EchoClient::new(&Channel::new(shed.service(full.peer())));
    for _ in 0..3 {
        let status = echo.say(message("")).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.is_safe_to_retry(), "{status}");
    }
    full.release().await;
    assert_eq!(echo.say(message("after")).await.unwrap().data, "after");
}

#[tokio::test]
async fn a_buffer_keeps_calls_until_the_peer_takes_them_and_tells_of_its_end() {
    let mut full = full(few_wait()).await;
    let buffer = ServiceBuilder::new().layer(BufferLayer::new(8));
    let echo = EchoClient::new(&Channel::new(buffer.service(full.peer())));
    let waits = |_| tokio::spawn(echo.say(message("buffered")).into_future());
    let waiting: Vec<_> = (0..5).map(waits).collect();
    full.release().await;
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap().data, "buffered");
    }
    full.peer().close("enough");
    full.peer().closed().await;
    let status = echo.say(message("")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.message().contains("the call was not sent"),
        "{status}"
    );
}

/// The number of calls that a service has begun.
fn begun(pair: &Pair) -> usize {
    pair.at_server.begun.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_balancer_leaves_out_peers_that_are_full_or_over() {
    let full = full(few_wait()).await;
    let (open, over) = (pair().await, pair().await);
    over.to_server.close("enough");
    over.to_server.closed().await;
    let peers = [&full.pair, &open, &over].map(|pair| Constant::new(pair.to_server.clone(), 1));
    let balance = Balance::<_, Request>::new(ServiceList::new::<Request>(peers));
    let buffer = ServiceBuilder::new().layer(BufferLayer::new(8));
    let echo = EchoClient::new(&Channel::new(buffer.service(balance)));
    for _ in 0..20 {
        echo.act(message("balanced")).await.unwrap();
    }
    assert_eq!([&full.pair, &open, &over].map(begun), [60, 20, 0]);
}

/// Begins a drain of the server while it handles a call, so that its connection stays open.
async fn drains(pair: &Pair) -> (JoinHandle<Result<Message>>, JoinHandle<DrainReport>) {
    let held = EchoClient::new(&pair.to_server).act(message("hold"));
    let held = tokio::spawn(held.no_timeout().into_future());
    let begun = |seen: &Seen| seen.begun.load(Ordering::SeqCst) == 1;
    pair.at_server.until(begun).await;
    (held, drain_of(pair).await)
}

/// Begins a drain of the server.
async fn drain_of(pair: &Pair) -> JoinHandle<DrainReport> {
    let to_client = pair.to_client.clone();
    let drain = tokio::spawn(async move { to_client.drain(Duration::MAX).await });
    pair.to_server.draining().await;
    drain
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_drains_is_not_ready_and_says_what_a_call_would_hear() {
    let pair = pair().await;
    let (held, drain) = drains(&pair).await;
    let status = pair.to_server.clone().ready().await.map(drop).unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.delivery(), Delivery::NotSent);
    let echo = EchoClient::new(&Channel::new(pair.to_server.clone()));
    let of_call = EchoClient::new(&pair.to_server).say(message("")).await;
    let of_call = of_call.unwrap_err();
    assert_eq!(status.message(), of_call.message());
    let of_channel = echo.say(message("")).await.unwrap_err();
    assert!(of_channel.message().contains("draining"), "{of_channel}");
    // The side that drains may still call, and what is in flight ends as usual.
    pair.to_client.clone().ready().await.unwrap();
    pair.at_server.release.notify_one();
    assert_eq!(held.await.unwrap().unwrap().data, "hold");
    assert_eq!(drain.await.unwrap().finished, 1);
}

#[tokio::test(start_paused = true)]
async fn callers_that_wait_for_room_are_told_of_a_drain() {
    let full = full(few_wait()).await;
    let waiting = [full.peer(), full.peer()]
        .map(|mut peer| tokio::spawn(async move { peer.ready().await.map(drop) }));
    tokio::task::yield_now().await;
    let began = Instant::now();
    let drain = drain_of(&full.pair).await;
    for waiting in waiting {
        let status = waiting.await.unwrap().unwrap_err();
        assert_eq!(status.delivery(), Delivery::NotSent);
        assert!(status.message().contains("draining"), "{status}");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    full.pair.at_server.release.notify_waiters();
    assert_eq!(drain.await.unwrap().finished, 60);
}

#[tokio::test(start_paused = true)]
async fn a_balancer_leaves_out_a_peer_that_drains() {
    let (open, drained) = (pair().await, pair().await);
    let (_held, _drain) = drains(&drained).await;
    let peers = [&open, &drained].map(|pair| Constant::new(pair.to_server.clone(), 1));
    let balance = Balance::<_, Request>::new(ServiceList::new::<Request>(peers));
    let buffer = ServiceBuilder::new().layer(BufferLayer::new(8));
    let echo = EchoClient::new(&Channel::new(buffer.service(balance)));
    for _ in 0..20 {
        echo.act(message("balanced")).await.unwrap();
    }
    assert_eq!([&open, &drained].map(begun), [20, 1]);
}

/// The status of a call through a channel, and the time after which it came.
async fn outcome(call: impl IntoFuture<Output = Result<Message>>) -> (wawo::Status, Duration) {
    let begin = Instant::now();
    let status = call.into_future().await.unwrap_err();
    (status, begin.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_until_its_peer_is_ready_ends_at_its_deadline() {
    let full = full(few_wait()).await;
    let second = Duration::from_secs(1);
    let plain = Channel::new(full.peer());
    let buffer = ServiceBuilder::new().layer(BufferLayer::new(8));
    let buffered = Channel::new(buffer.service(full.peer()));
    for (channel, delivery) in [(plain, Delivery::NotSent), (buffered, Delivery::Unknown)] {
        let call = EchoClient::new(&channel).say(message("")).timeout(second);
        let (status, time) = outcome(call).await;
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().contains("timeout of the call"), "{status}");
        assert_eq!(status.delivery(), delivery, "{status}");
        assert!(
            (second..second + Duration::from_millis(100)).contains(&time),
            "{time:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_default_timeout_of_a_call_runs_while_its_peer_is_not_ready() {
    let config = Config::builder()
        .max_waiting_calls(2)
        .default_timeout(Some(Duration::from_secs(2)))
        .stall_timeout(Duration::from_secs(3));
    let full = full(config.build().unwrap()).await;
    let echo = EchoClient::new(&Channel::new(full.peer()));
    let (status, time) = outcome(echo.say(message(""))).await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("default_timeout, 2s"), "{status}");
    assert!(status.is_safe_to_retry(), "{status}");
    assert!((2000..2100).contains(&time.as_millis()), "{time:?}");
    // A stream has no deadline, and waits no longer than it may wait for room.
    let (status, time) = outcome(echo.join(Streaming::empty())).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.is_safe_to_retry(), "{status}");
    assert!((3000..5100).contains(&time.as_millis()), "{time:?}");
}

#[tokio::test]
async fn stubs_do_not_ask_and_wait_for_room_within_their_deadlines() {
    let full = full(few_wait()).await;
    let call = EchoClient::new(&full.pair.to_server).say(message(""));
    let status = call.timeout(Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let text = "waited for the connection to take it (timeout of the call)";
    assert!(status.message().contains(text), "{status}");
}

/// Calls of handlers have slots of their own, and what is sent on counts as one.
#[tokio::test]
async fn a_call_that_is_sent_on_does_not_wait_behind_calls_that_no_handler_makes() {
    let full = full(few_wait()).await;
    let proxy = Server::builder().fallback(full.peer());
    let mut proxy = proxy.build().unwrap();
    let echo = EchoClient::new(&client_of(&mut proxy).await);
    assert_eq!(echo.say(message("sent on")).await.unwrap().data, "sent on");
    let mut peer = full.peer();
    assert!(peer.ready().now_or_never().is_none());
}
