//! A server spreads its peers over a time when it drains.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use wawo::{Peer, PeerEvent, Server, ServerHandle};

use crate::support::{EchoClient, EchoServer, Parrot, message};

const SECOND: Duration = Duration::from_secs(1);

fn server() -> Server {
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    server.build().unwrap()
}

async fn connect(handle: &ServerHandle) -> Peer {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let _ = handle.accept_over(there).unwrap();
    Peer::builder("").connect_over(here).await.unwrap()
}

async fn connect_all(handle: &ServerHandle, count: usize) -> Vec<Peer> {
    let mut peers = Vec::new();
    for _ in 0..count {
        peers.push(connect(handle).await);
    }
    peers
}

/// The whole seconds until the peer drains.
async fn seconds_until_drain(peer: &Peer, began: Instant) -> u64 {
    peer.draining().await;
    began.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn each_peer_is_served_until_its_slice_is_over() {
    let server = server();
    let handle = server.handle();
    let peers = connect_all(&handle, 4).await;
    let began = Instant::now();
    let drain = tokio::spawn(handle.drain(60 * SECOND).spread(8 * SECOND));
    for (peer, seconds) in peers.iter().zip([3, 5, 7, 9]) {
        let reply = EchoClient::new(peer).say(message("served")).await;
        assert_eq!(reply.unwrap().data, "served");
        assert_eq!(seconds_until_drain(peer, began).await, seconds);
    }
    let report = drain.await.unwrap();
    assert_eq!((report.peers, report.cut.len()), (4, 0), "{report:?}");
    assert_eq!(began.elapsed().as_secs(), 9);
}

/// Each peer is asked at once to come back within its own slice, and goes on until then.
#[tokio::test(start_paused = true)]
async fn each_peer_is_asked_to_come_back_within_its_slice() {
    let server = server();
    let handle = server.handle();
    let peers = connect_all(&handle, 4).await;
    let mut events: Vec<_> = peers.iter().map(Peer::events).collect();
    let other = "tcp://10.0.0.7:4000".parse().unwrap();
    let drain = handle.drain(SECOND).spread(8 * SECOND).move_to(other);
    let drain = tokio::spawn(drain);
    let began = Instant::now();
    for (events, second) in events.iter_mut().zip([0, 2, 4, 6]) {
        let Some(PeerEvent::Move(_, relocation)) = events.next().await else {
            panic!("no request to move");
        };
        let times = (relocation.not_before(), relocation.not_after());
        assert_eq!(times, (second * SECOND, (second + 2) * SECOND));
        assert_eq!(relocation.address(), "tcp://10.0.0.7:4000");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    drain.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_asked_to_come_back_where_it_was_unless_an_address_is_named() {
    let server = server();
    let handle = server.handle();
    let peer = connect(&handle).await;
    let mut events = peer.events();
    let drain = tokio::spawn(handle.drain(SECOND).spread(SECOND).into_future());
    let Some(PeerEvent::Move(of, relocation)) = events.next().await else {
        panic!("no request to move");
    };
    assert_eq!((of.id(), relocation.address()), (peer.id(), ""));
    drain.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_grace_begins_when_the_last_peer_is_drained() {
    let server = server();
    let handle = server.handle();
    let peers = connect_all(&handle, 2).await;
    let echo = EchoClient::new(&peers[1]);
    let stuck = tokio::spawn(async move { echo.act(message("wait")).no_timeout().await });
    tokio::task::yield_now().await;
    let began = Instant::now();
    let report = handle.drain(20 * SECOND).spread(4 * SECOND).await;
    assert_eq!(
        began.elapsed().as_secs(),
        25,
        "4 s, 1 s to move, and the grace"
    );
    assert_eq!((report.peers, report.cut.len()), (2, 1), "{report:?}");
    assert!(stuck.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_second_drain_ends_the_spread() {
    let server = server();
    let handle = server.handle();
    let peers = connect_all(&handle, 2).await;
    let long = handle.drain(Duration::MAX).spread(Duration::MAX);
    let long = tokio::spawn(long);
    tokio::time::sleep(100 * SECOND).await;
    let reply = EchoClient::new(&peers[1]).say(message("")).await;
    assert!(reply.is_ok(), "{reply:?}");
    let report = timeout(SECOND, handle.drain(10 * SECOND)).await.unwrap();
    assert_eq!((report.peers, report.cut.len()), (2, 0), "{report:?}");
    assert_eq!(long.await.unwrap().peers, 2);
}

/// The end of the second drain leaves time for the departures of the first.
#[tokio::test(start_paused = true)]
async fn a_second_drain_that_ends_after_the_spread_leaves_it_as_it_is() {
    let server = server();
    let handle = server.handle();
    let peers = connect_all(&handle, 4).await;
    let echo = EchoClient::new(&peers[3]);
    let stuck = tokio::spawn(async move { echo.act(message("wait")).no_timeout().await });
    tokio::task::yield_now().await;
    let began = Instant::now();
    let first = tokio::spawn(handle.drain(600 * SECOND).spread(8 * SECOND).into_future());
    tokio::time::sleep(SECOND).await;
    let second = handle.drain(29 * SECOND).spread(2 * SECOND);
    let second = tokio::spawn(second.into_future());
    for (peer, seconds) in peers.iter().zip([3, 5, 7, 9]) {
        assert_eq!(seconds_until_drain(peer, began).await, seconds);
    }
    let report = second.await.unwrap();
    // 29 s of grace, 2 s of spread and 1 s to move, from the second call on.
    assert_eq!((began.elapsed().as_secs(), report.cut.len()), (33, 1));
    assert_eq!(first.await.unwrap().peers, 4);
    assert!(stuck.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_spread_without_peers_ends_at_once() {
    let server = server();
    let report = server.handle().drain(SECOND).spread(Duration::MAX);
    let report = timeout(SECOND, report).await.unwrap();
    assert_eq!(report.peers, 0);
}

#[tokio::test(start_paused = true)]
async fn no_peer_connects_during_the_spread() {
    let server = server();
    let handle = server.handle();
    let _peers = connect_all(&handle, 1).await;
    let drain = tokio::spawn(handle.drain(SECOND).spread(60 * SECOND));
    tokio::time::sleep(SECOND).await;
    let (_here, there) = tokio::io::duplex(1024);
    let error = handle.accept_over(there).unwrap_err().to_string();
    assert!(error.contains("drain"), "{error}");
    drain.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_signal_of_a_server_spreads_by_its_setting() {
    let config = wawo::ServerConfig::builder().drain_spread(3 * SECOND);
    let server = Server::builder().config(config.build().unwrap());
    let server = server.build().unwrap();
    let peer = connect(&server.handle()).await;
    let began = Instant::now();
    let report = server.run_until(std::future::ready(())).await.unwrap();
    assert_eq!((report.peers, began.elapsed().as_secs()), (1, 4));
    assert!(peer.is_closed());
}
