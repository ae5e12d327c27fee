//! tower's own layers around servers, services, methods and callers.

use std::{sync::atomic::Ordering, time::Duration};

use tower::{
    ServiceBuilder,
    buffer::BufferLayer,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    load_shed::LoadShedLayer,
    timeout::TimeoutLayer,
    util::MapRequestLayer,
};
use wawo::{Channel, Code, InProcess, Request, Server};

use crate::support::{EchoClient, EchoServer, Parrot, echo_service::method, message, pair};

#[tokio::test(start_paused = true)]
async fn the_timeout_of_tower_is_a_deadline_that_passed() {
    let slow = EchoServer::new(Parrot::default()).layer(TimeoutLayer::new(Duration::from_secs(1)));
    let echo = EchoClient::new(&InProcess::new(slow));
    let status = echo.act(message("wait")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.message(), "the service took too long");
}

#[tokio::test]
async fn a_method_that_is_full_sheds_and_the_others_do_not() {
    let parrot = Parrot::default();
    let one_at_a_time = ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(1));
    let server = EchoServer::new(parrot.clone()).layer_method(&method::ACT, one_at_a_time);
    let echo = EchoClient::new(&InProcess::new(server));
    let hold = tokio::spawn(echo.act(message("hold")));
    parrot
        .0
        .until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    let status = echo.act(message("x")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    echo.say(message("other method")).await.unwrap();
    parrot.0.release.notify_one();
    hold.await.unwrap().unwrap();
    echo.act(message("free again")).await.unwrap();
}

#[tokio::test]
async fn a_call_that_waits_for_a_place_and_is_dropped_gives_the_place_back() {
    // A service that was polled and found not ready has a place in a queue. It must not stay in
    // the dispatcher, where nobody polls it: then no call would ever get through again.
    let parrot = Parrot::default();
    let server = EchoServer::new(parrot.clone()).layer(ConcurrencyLimitLayer::new(1));
    let mut server = Server::builder().add_service(server).build().unwrap();
    let (here, there) = tokio::io::duplex(1024);
    let _peer = server.accept_over(there).unwrap();
    let peer = wawo::Peer::builder("").connect_over(here).await.unwrap();
    let echo = EchoClient::new(&peer);
    let hold = tokio::spawn(echo.act(message("hold")));
    parrot
        .0
        .until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    let waiting = tokio::spawn(echo.act(message("waits")));
    echo.note(message("x")).await.unwrap();
    tokio::task::yield_now().await;
    waiting.abort();
    let next = tokio::spawn(echo.act(message("next")));
    parrot.0.release.notify_one();
    hold.await.unwrap().unwrap();
    assert_eq!(next.await.unwrap().unwrap().data, "next");
    assert_eq!(echo.say(message("after")).await.unwrap().data, "after");
}

#[tokio::test]
async fn a_rate_limit_fits_behind_a_buffer() {
    let layers = ServiceBuilder::new()
        .layer(BufferLayer::new(8))
        .layer(RateLimitLayer::new(100, Duration::from_secs(1)));
    let echo = EchoServer::new(Parrot::default()).layer(layers);
    let echo = EchoClient::new(&InProcess::new(echo));
    assert_eq!(echo.say(message("hi")).await.unwrap().data, "hi");
}

#[tokio::test]
async fn a_layer_before_a_caller_can_add_metadata() {
    let pair = pair().await;
    let token = MapRequestLayer::new(|mut request: Request| {
        request
            .metadata_mut()
            .insert("asked", "by a layer")
            .unwrap();
        request
    });
    let layered = ServiceBuilder::new().layer(token).service(pair.to_server);
    let echo = EchoClient::new(&Channel::new(layered));
    let (_, metadata) = echo.act(message("metadata")).with_metadata().await.unwrap();
    assert_eq!(metadata.text("answered"), Some("by a layer"));
}

#[tokio::test]
async fn layers_of_a_server_see_a_call_in_the_order_in_which_they_were_added() {
    let mark = |name: &'static str| {
        MapRequestLayer::new(move |mut request: Request| {
            let before = request
                .metadata()
                .text("asked")
                .unwrap_or_default()
                .to_owned();
            let mut metadata = wawo::Metadata::new();
            metadata.insert("asked", before + name).unwrap();
            *request.metadata_mut() = metadata;
            request
        })
    };
    let server = Server::builder()
        .layer(mark("a"))
        .layer(mark("b"))
        .add_service(
            EchoServer::new(Parrot::default())
                .layer(mark("d"))
                .layer(mark("c")),
        );
    let mut server = server.build().unwrap();
    let (here, there) = tokio::io::duplex(1024);
    let _peer = server.accept_over(there).unwrap();
    let peer = wawo::Peer::builder("").connect_over(here).await.unwrap();
    let call = EchoClient::new(&peer).act(message("metadata"));
    let (_, metadata) = call.with_metadata().await.unwrap();
    assert_eq!(metadata.text("answered"), Some("abcd"));
}
