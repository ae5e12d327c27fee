//! Guests: peers whose calls come by another protocol.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use prost::Message as _;
use tokio::time::Instant;
use wawo::{
    Body, Code, Config, ConnectionError, Gateway, Guest, MethodDescriptor, PeerEvent, Request,
    Response, ServeError, Server, ServerHandle, Status,
};

use crate::support::{
    EchoClient, EchoServer, Message, Parrot, Seen, echo_service::method, message,
};

struct Host {
    server: Server,
    handle: ServerHandle,
    gateway: Gateway,
    seen: std::sync::Arc<Seen>,
}

fn host(config: Config) -> Host {
    let parrot = Parrot::default();
    let seen = parrot.0.clone();
    let server = Server::builder().config(config);
    let server = server.add_service(EchoServer::new(parrot)).build().unwrap();
    let handle = server.handle();
    let gateway = handle.gateway("pigeons");
    Host {
        server,
        handle,
        gateway,
        seen,
    }
}

fn welcome(host: &Host) -> Guest {
    let address = "tcp://192.0.2.1:9".parse().unwrap();
    host.gateway.guest().address(address).build().unwrap()
}

fn request(method: &MethodDescriptor, data: &str) -> Request {
    let bytes = Bytes::from(message(data.to_owned()).encode_to_vec());
    Request::new(method, Body::One(bytes.into()))
}

fn data(response: Response) -> String {
    let (_, body) = response.into_parts();
    let Body::One(bytes) = body else {
        panic!("a stream");
    };
    let bytes = bytes.into_bytes();
    let message = Message::decode(bytes).unwrap();
    String::from_utf8(message.data.to_vec()).unwrap()
}

async fn act(guest: &Guest, what: &str) -> Result<String, Status> {
    guest.call(request(&method::ACT, what)).await.map(data)
}

#[tokio::test]
async fn calls_of_a_guest_are_served_as_those_of_any_peer() {
    let host = host(Config::default());
    let guest = welcome(&host);
    assert_eq!(act(&guest, "hello").await.unwrap(), "hello");
    assert_eq!(act(&guest, "yield").await.unwrap(), "yield");
    let status = act(&guest, "yield and panic").await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    let status = act(&guest, "fail").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    guest.call(request(&method::NOTE, "note")).await.unwrap();
    let is_noted = |seen: &Seen| seen.notes.load(Ordering::SeqCst) == 1;
    host.seen.until(is_noted).await;
    let other = Request::by_id(
        wawo::ServiceId(9),
        wawo::MethodId(1),
        false,
        Body::One(Bytes::new().into()),
    );
    let status = guest.call(other).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_guest_has_the_default_deadline_of_the_server() {
    let config = Config::builder().default_timeout(Some(Duration::from_secs(2)));
    let host = host(config.build().unwrap());
    let guest = welcome(&host);
    let begin = Instant::now();
    let status = act(&guest, "wait").await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(begin.elapsed().as_secs(), 2);
}

#[tokio::test]
async fn a_guest_is_a_peer_that_cannot_be_called() {
    let host = host(Config::default());
    let mut events = host.handle.events();
    let guest = welcome(&host);
    let peer = guest.peer();
    let Some(PeerEvent::Connected(connected)) = events.next().await else {
        panic!("another event");
    };
    assert_eq!(connected.id(), peer.id());
    assert_eq!(host.handle.peers().len(), 1);
    assert_eq!(host.handle.peer(peer.id()).unwrap().id(), peer.id());
    assert_eq!(peer.protocol(), "pigeons");
    assert_eq!(peer.address().unwrap().to_string(), "tcp://192.0.2.1:9");
    assert!(!peer.is_callable());
    let status = EchoClient::new(&peer).say(message("a")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    // The handler sees that peer, and cannot call it either.
    let status = act(&guest, "call back").await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.to_string().contains("came over pigeons"), "{status}");
    guest.end(&ConnectionError::Lost(std::sync::Arc::new(
        std::io::ErrorKind::ConnectionReset.into(),
    )));
    let Some(PeerEvent::Disconnected(_, error)) = events.next().await else {
        panic!("another event");
    };
    assert!(matches!(error, ConnectionError::Lost(_)), "{error}");
    drop(guest);
    assert!(host.handle.peers().is_empty());
    assert!(host.handle.peer(peer.id()).is_none());
    assert!(matches!(peer.closed().await, ConnectionError::Lost(_)));
}

#[tokio::test]
async fn a_guest_is_known_from_its_first_event_on() {
    #[derive(Debug, PartialEq, Eq)]
    struct User(&'static str);

    let host = host(Config::default());
    let mut events = host.handle.events();
    let guest = host.gateway.guest().claimed_name("ada");
    drop(guest.extension(User("nobody")));
    assert!(host.handle.peers().is_empty());
    let guest = host.gateway.guest().claimed_name("ada");
    let guest = guest.extension(User("bob")).extension(User("ada"));
    let guest = guest.build().unwrap();
    let Some(PeerEvent::Connected(peer)) = events.next().await else {
        panic!("another event");
    };
    let peer = peer.upgrade().unwrap();
    assert_eq!(peer.id(), guest.peer().id());
    assert_eq!(peer.claimed_name(), "ada");
    assert_eq!(peer.address(), None);
    assert_eq!(*peer.extensions().get::<User>().unwrap(), User("ada"));
}

#[tokio::test]
async fn a_gateway_finds_services_by_name_while_they_come_and_go() {
    let host = host(Config::default());
    let find = || host.gateway.service("tests.echo.Echo");
    let say = find().and_then(|echo| echo.method_by_name("Say").cloned());
    assert_eq!(say.as_ref(), Some(&method::SAY));
    assert_eq!(host.gateway.service("tests.echo.Ech"), None);
    assert!(host.handle.remove_service("tests.echo.Echo"));
    assert_eq!(find(), None);
}

#[tokio::test]
async fn a_guest_that_is_dropped_is_over() {
    let host = host(Config::default());
    let guest = welcome(&host);
    let (other, peer) = (guest.clone(), guest.peer());
    drop(guest);
    assert_eq!(act(&other, "hello").await.unwrap(), "hello");
    drop(other);
    assert!(peer.is_closed());
    assert!(host.handle.peers().is_empty());
}

#[tokio::test]
async fn a_guest_has_no_more_calls_in_flight_than_max_calls() {
    const MAX: u32 = 64;
    let host = host(Config::builder().max_calls(MAX).build().unwrap());
    let guest = welcome(&host);
    let hold = |_| tokio::spawn(guest.call(request(&method::ACT, "hold")));
    let held: Vec<_> = (0..MAX).map(hold).collect();
    while host.seen.begun.load(Ordering::SeqCst) < MAX as usize {
        tokio::task::yield_now().await;
    }
    let status = act(&guest, "hello").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("max_calls"), "{status}");
    host.seen.release.notify_waiters();
    for call in held {
        call.await.unwrap().unwrap();
    }
    act(&guest, "hello").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_the_server_waits_for_calls_of_guests_and_cuts_them() {
    for (what, finished) in [("sleep", 1), ("wait", 0)] {
        let Host {
            server,
            handle,
            gateway,
            ..
        } = host(Config::default());
        let guest = gateway.guest().build().unwrap();
        let mut wait = request(&method::ACT, what);
        wait.set_no_deadline();
        let call = tokio::spawn(guest.call(wait));
        tokio::task::yield_now().await;
        let grace = Duration::from_secs(8);
        let begin = Instant::now();
        let draining = tokio::spawn(async move { handle.drain(grace).await });
        guest.draining().await;
        gateway.draining().await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        let status = act(&guest, "hello").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.is_safe_to_retry());
        assert!(matches!(gateway.guest().build(), Err(ServeError::Draining)));
        let reason = guest.closed().await;
        let ended = call.await.unwrap();
        assert_eq!(ended.is_ok(), finished == 1, "{reason}");
        drop(guest);
        let report = draining.await.unwrap();
        assert_eq!((report.peers, report.finished), (1, finished));
        assert_eq!(report.cut.len(), 1 - finished);
        drop(server);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_guests_that_are_over_and_have_no_calls() {
    let idle = host(Config::default());
    let (guest, begin) = (welcome(&idle), Instant::now());
    let report = idle.handle.drain(Duration::MAX).await;
    assert_eq!((report.peers, begin.elapsed()), (1, Duration::ZERO));
    drop(guest);
    // One with a call, whose connection ends while the server drains.
    let lost = host(Config::default());
    let guest = welcome(&lost);
    let call = tokio::spawn(guest.call(request(&method::ACT, "hold")));
    tokio::task::yield_now().await;
    let draining = tokio::spawn(async move { lost.handle.drain(Duration::MAX).await });
    guest.draining().await;
    guest.end(&ConnectionError::ClosedHere);
    assert!(call.await.unwrap().is_err());
    draining.await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
    drop(guest);
}

#[tokio::test]
async fn calls_and_streams_of_a_guest_end_when_its_peer_is_closed() {
    let host = host(Config::default());
    let guest = welcome(&host);
    let call = tokio::spawn(guest.call(request(&method::ACT, "wait")));
    let items = wawo::Streaming::pending();
    let talk = Request::new(&method::TALK, Body::Many(wawo::Streaming::new(items)));
    let (_, body) = guest.call(talk).await.unwrap().into_parts();
    let Body::Many(mut replies) = body else {
        panic!("one message");
    };
    tokio::task::yield_now().await;
    host.handle.peers()[0].close("no more pigeons");
    assert_eq!(guest.closed().await, "no more pigeons");
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(!status.is_safe_to_retry());
    let status = replies.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(replies.next().await.is_none());
    let status = act(&guest, "hello").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let is_dropped = |seen: &Seen| seen.dropped.load(Ordering::SeqCst) == 1;
    host.seen.until(is_dropped).await;
}
