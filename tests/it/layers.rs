//! tower's own layers around servers, services, methods and callers.

use std::{sync::atomic::Ordering, time::Duration};

use futures::stream;
use tower::{
    ServiceBuilder,
    buffer::BufferLayer,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    load_shed::LoadShedLayer,
    timeout::TimeoutLayer,
    util::MapRequestLayer,
};
use wawo::{
    Channel, Code, InProcess, Request, Server, Streaming,
    layer::{InFlightLayer, MaxTimeLayer, PanicGuard, RequestBytesLayer},
};

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

#[test]
#[should_panic(
    expected = "a layer of the service `tests.echo.Echo` was given for the method \
                `tests.completion.Ledger/Book`, which it does not have"
)]
fn a_layer_around_a_method_of_another_service_is_refused_at_once() {
    let book = &crate::completion::BOOK;
    let _ = EchoServer::new(Parrot::default()).layer_method(book, LoadShedLayer::new());
}

#[test]
#[should_panic(
    expected = "`tests.echo.Echo` was given for the method `tests.completion.Ledger/Book`"
)]
fn so_is_one_outside_of_other_layers() {
    let echo = EchoServer::new(Parrot::default()).layer(LoadShedLayer::new());
    let _ = echo.layer_method(&crate::completion::BOOK, LoadShedLayer::new());
}

#[tokio::test]
async fn a_call_that_waits_for_a_place_and_is_dropped_gives_the_place_back() {
    // A service that was polled and was not ready has a place in a queue. It must not stay in the
    // dispatcher, where nobody polls it: then no call would ever get through again.
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
            .append("asked", "by a layer")
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
            metadata.append("asked", before + name).unwrap();
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

/// A client of a parrot with a layer.
fn layered<L>(layer: L) -> (EchoClient, Parrot)
where
    L: tower::Layer<PanicGuard<EchoServer<Parrot>>, Service: wawo::CallService>,
{
    let parrot = Parrot::default();
    let server = EchoServer::new(parrot.clone()).layer(layer);
    (EchoClient::new(&InProcess::new(server)), parrot)
}

#[tokio::test]
async fn a_request_is_as_long_as_its_limit_and_no_longer() {
    // A message of 8 bytes has two more on the wire.
    let (echo, _) = layered(RequestBytesLayer::new(10));
    assert!(echo.say(message("8 bytes!")).await.is_ok());
    let text = "a request of 11 bytes; at most 10 may come (RequestBytesLayer)";
    let status = echo.say(message("9 bytes!!")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::ResourceExhausted, text)
    );
    assert!(status.is_safe_to_retry());
    let requests = stream::iter([message("8 bytes!"), message("9 bytes!!")]);
    let status = echo.join(requests).await.unwrap_err();
    assert_eq!(status.message(), text);
}

#[tokio::test]
async fn calls_and_their_streams_are_in_flight_up_to_the_bound_and_one_more_is_refused() {
    let (echo, parrot) = layered(InFlightLayer::new(2));
    let hold = tokio::spawn(echo.act(message("hold")).into_future());
    let begun = |seen: &crate::support::Seen| seen.begun.load(Ordering::SeqCst) == 1;
    parrot.0.until(begun).await;
    // A stream keeps its slot until it ends.
    let replies = echo.talk(Streaming::pending()).await.unwrap();
    let status = echo.say(message("")).await.unwrap_err();
    let text = "2 calls are in flight already (InFlightLayer)";
    assert_eq!(status.message(), text);
    assert!(status.is_safe_to_retry());
    drop(replies);
    echo.say(message("")).await.unwrap();
    parrot.0.release.notify_one();
    hold.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_and_its_stream_end_with_their_time() {
    let second = Duration::from_secs(1);
    let (echo, _) = layered(MaxTimeLayer::new(second));
    let begin = tokio::time::Instant::now();
    let status = echo.act(message("wait")).await.unwrap_err();
    let text = "the call took longer than 1s (MaxTimeLayer)";
    assert_eq!(
        (status.code(), status.message()),
        (Code::DeadlineExceeded, text)
    );
    assert!(begin.elapsed() < 2 * second);
    let mut replies = echo.talk(Streaming::pending()).await.unwrap();
    let status = replies.message().await.unwrap_err();
    assert_eq!(status.message(), text);
    let left = echo.act(message("deadline")).await.unwrap();
    assert_eq!(left.data, "1000");
}

#[tokio::test]
async fn limits_of_a_server_a_service_and_a_method_hold_at_once() {
    let parrot = EchoServer::new(Parrot::default())
        .layer_method(&method::SAY, RequestBytesLayer::new(10))
        .layer(RequestBytesLayer::new(20));
    let mut server = Server::builder()
        .layer(RequestBytesLayer::new(30))
        .add_service(parrot)
        .build()
        .unwrap();
    let (here, there) = tokio::io::duplex(1024);
    let _ = server.accept_over(there).unwrap();
    let peer = wawo::Peer::builder("").connect_over(here).await.unwrap();
    let echo = EchoClient::new(&peer);
    for (length, of_say, of_act) in [(8, true, true), (18, false, true), (28, false, false)] {
        let said = echo.say(message(vec![7; length])).await;
        assert_eq!(said.is_ok(), of_say, "{length}");
        let acted = echo.act(message(vec![7; length])).await;
        assert_eq!(acted.is_ok(), of_act, "{length}");
    }
    let status = echo.act(message(vec![7; 40])).await.unwrap_err();
    assert!(status.message().contains("at most 30"), "{status}");
}
