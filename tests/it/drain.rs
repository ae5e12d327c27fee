//! Draining: accepted calls end as usual, later calls are refused unserved, and the drain ends
//! within its bound. Time is paused, except in tests of listeners.

use std::{sync::atomic::Ordering, time::Duration};

use futures::{StreamExt, stream};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout},
};
use wawo::{Code, Delivery, Peer, PeerEvent, Server, Streaming};

use crate::{
    logged::Log,
    support::{EchoClient, EchoServer, Parrot, RepeatRequest, message, pair},
};

const SECOND: Duration = Duration::from_secs(1);

/// The maximum time that a drain takes beyond its grace period.
const LATE: Duration = Duration::from_millis(150);

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_what_is_in_flight_and_refuses_the_rest() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let held = tokio::spawn(echo.act(message("hold")).into_future());
    let begun = |seen: &crate::support::Seen| seen.begun.load(Ordering::SeqCst) == 1;
    pair.at_server.until(begun).await;

    let to_client = pair.to_client.clone();
    let drain = tokio::spawn(async move { to_client.drain(60 * SECOND).await });
    pair.to_server.draining().await;
    let status = echo.say(message("late")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.is_safe_to_retry());
    assert!(status.message().contains("draining"), "{status}");
    // Calls in the other direction still work.
    let back = EchoClient::new(&pair.to_client).say(message("back")).await;
    assert_eq!(back.unwrap().data, "back");
    assert!(!drain.is_finished());

    pair.at_server.release.notify_one();
    assert_eq!(held.await.unwrap().unwrap().data, "hold");
    let report = drain.await.unwrap();
    assert_eq!((report.peers, report.finished), (1, 1));
    assert!(report.cut.is_empty(), "{report:?}");
    assert!(pair.to_server.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_drain_of_its_own_side_cuts_names_the_grace() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let stuck = tokio::spawn(echo.act(message("wait")).timeout(600 * SECOND));
    tokio::task::yield_now().await;
    pair.to_server.drain(2 * SECOND).await;
    let status = stuck.await.unwrap().unwrap_err();
    let text = "may have been served: the grace of this side's drain, 2s, was over:";
    assert!(status.message().contains(text), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_cuts_what_is_left_when_its_grace_is_over() {
    let (log, _guard) = Log::begin();
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let stuck = tokio::spawn(echo.act(message("wait")).timeout(600 * SECOND));
    let endless = echo.talk(Streaming::pending()).timeout(600 * SECOND);
    let mut replies = endless.await.unwrap();
    let begin = Instant::now();
    let report = pair.to_client.drain(2 * SECOND).await;
    assert!((2 * SECOND..2 * SECOND + LATE).contains(&begin.elapsed()));
    assert_eq!((report.peers, report.finished), (1, 0));
    let [cut] = &report.cut[..] else {
        panic!("{report:?}");
    };
    assert_eq!((cut.calls, cut.by_peer.is_none()), (2, true));
    let status = stuck.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.delivery(), Delivery::Unknown);
    let begins = "the call was sent and may have been served: the peer closed";
    assert!(status.message().starts_with(begins), "{status}");
    let status = replies.message().await.unwrap_err();
    let begins = "the stream was under way: the peer closed";
    assert!(status.message().starts_with(begins), "{status}");
    let lines = log.lines("a drain cut calls, as its grace was over");
    assert_eq!(lines.len(), 1, "{log:?}");
    assert!(lines[0].starts_with("WARN"), "{lines:?}");
    assert!(
        lines[0].ends_with("calls=2 peers=1 finished=0"),
        "{lines:?}"
    );
    let text = pair.to_server.closed().await.to_string();
    assert!(text.contains("the grace for draining is over"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn calls_that_a_peer_leaves_behind_are_reported_as_cut_by_it() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let stuck = tokio::spawn(echo.act(message("wait")).into_future());
    let begun = |seen: &crate::support::Seen| seen.begun.load(Ordering::SeqCst) == 1;
    pair.at_server.until(begun).await;
    let to_client = pair.to_client.clone();
    let drain = tokio::spawn(async move { to_client.drain(60 * SECOND).await });
    pair.to_server.draining().await;
    pair.to_server.close("I am leaving");
    let report = drain.await.unwrap();
    let by_peer = report.cut[0].by_peer.as_ref().map(ToString::to_string);
    assert!(by_peer.is_some_and(|text| text.contains("I am leaving")));
    assert!(stuck.await.unwrap().is_err());
}

/// One peer leaves during the grace period, the other is cut at its end.
#[tokio::test(start_paused = true)]
async fn a_drain_of_a_server_tells_who_cut_what() {
    let name = "mem://a_drain_tells_who_cut_what";
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let server = server.bind(name).await.unwrap();
    let handle = server.handle();
    let running = tokio::spawn(server.run());
    let stays = Peer::connect(name).await.unwrap();
    let leaves = Peer::connect(name).await.unwrap();
    let mut stuck = Vec::new();
    for peer in [&stays, &leaves] {
        let echo = EchoClient::new(peer);
        stuck.push(tokio::spawn(echo.act(message("wait")).into_future()));
        // Packets keep their order, so the previous call has begun.
        echo.say(message("")).await.unwrap();
    }
    let drain = tokio::spawn(async move { handle.drain(SECOND).await });
    leaves.draining().await;
    leaves.close("I am leaving");
    let report = drain.await.unwrap();
    let by_peer = report.cut.iter().filter(|cut| cut.by_peer.is_some());
    assert_eq!((report.cut.len(), by_peer.count()), (2, 1), "{report:?}");
    for call in stuck {
        assert!(call.await.unwrap().is_err());
    }
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn both_sides_may_drain_at_once() {
    let pair = pair().await;
    let there = tokio::spawn(
        EchoClient::new(&pair.to_server)
            .act(message("hold"))
            .into_future(),
    );
    let here = tokio::spawn(
        EchoClient::new(&pair.to_client)
            .act(message("hold"))
            .into_future(),
    );
    let begun = |seen: &crate::support::Seen| seen.begun.load(Ordering::SeqCst) == 1;
    pair.at_server.until(begun).await;
    pair.at_client.until(begun).await;
    let drains = async {
        tokio::join!(
            pair.to_client.drain(60 * SECOND),
            pair.to_server.drain(60 * SECOND)
        )
    };
    let release = async {
        tokio::join!(pair.to_client.draining(), pair.to_server.draining());
        pair.at_server.release.notify_one();
        pair.at_client.release.notify_one();
    };
    let begin = Instant::now();
    let (reports, ()) = tokio::join!(drains, release);
    assert!(begin.elapsed() < SECOND);
    for report in [reports.0, reports.1] {
        assert!(report.cut.is_empty(), "{report:?}");
    }
    assert!(there.await.unwrap().is_ok() && here.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stream_hears_of_a_drain_and_ends_itself() {
    let pair = pair().await;
    let peer = pair.to_client.clone();
    let ticks = stream::repeat_with(|| message("tick"));
    let draining = async move { peer.draining().await };
    let until_drain = ticks.take_until(Box::pin(draining));
    // Here the client streams to the server, and the server drains.
    let call = EchoClient::new(&pair.to_server).join(until_drain);
    let call = tokio::spawn(call.timeout(60 * SECOND));
    tokio::task::yield_now().await;
    let report = pair.to_client.drain(60 * SECOND).await;
    assert!(report.cut.is_empty(), "{report:?}");
    assert!(call.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_server_closes_its_listener_first_and_reports_when_it_has_drained() {
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let address = server.addresses()[0].to_string();
    let handle = server.handle();
    let running = tokio::spawn(server.run());
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(Peer::connect(&*address).await.unwrap());
    }
    let held = tokio::spawn(
        EchoClient::new(&peers[0])
            .act(message("hold"))
            .into_future(),
    );
    let mut events = handle.events();
    // A round trip of a later call shows that the earlier call has arrived.
    EchoClient::new(&peers[0]).say(message("")).await.unwrap();
    let drain = tokio::spawn({
        let handle = handle.clone();
        async move { handle.drain(SECOND / 5).await }
    });
    for _ in 0..3 {
        let event = events.next().await;
        assert!(
            matches!(
                event,
                Some(PeerEvent::Draining(_) | PeerEvent::Disconnected(..))
            ),
            "{event:?}"
        );
    }
    assert!(Peer::connect(&*address).await.is_err());
    let report = drain.await.unwrap();
    assert_eq!((report.peers, report.cut.len()), (3, 1), "{report:?}");
    assert!(running.await.unwrap().is_ok());
    assert!(held.await.unwrap().is_err());
    // A second drain returns the same report.
    assert_eq!(handle.drain(SECOND).await.peers, 3);
}

#[tokio::test]
async fn a_server_serves_until_its_signal() {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let name = "mem://a_server_serves_until_its_signal";
    let server = server.bind(name).await.unwrap();
    let signal = async { drop(stopped.await) };
    let running = tokio::spawn(server.run_until(signal));
    let peer = Peer::connect(name).await.unwrap();
    EchoClient::new(&peer).say(message("")).await.unwrap();
    drop(stop);
    let report = running.await.unwrap().unwrap();
    assert_eq!((report.peers, report.cut.len()), (1, 0));
    let text = peer.closed().await.to_string();
    assert_eq!(text, "the peer closed the connection (normal): drained");
}

/// The number of rounds. A debug build is slow and makes fewer; `.ci/run` makes all.
const ROUNDS: usize = if cfg!(debug_assertions) { 20 } else { 100 };

/// One server with stuck calls, peers that do not read, handshakes that never end, and peers that
/// have half disconnected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_within_its_bound_a_hundred_times() {
    for round in 0..ROUNDS {
        let parrot = Parrot::default();
        let server = Server::builder().add_service(EchoServer::new(parrot.clone()));
        let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
        let address = server.addresses()[0].to_string();
        let handle = server.handle();
        let running = tokio::spawn(server.run());
        let host = address.trim_start_matches("tcp://");
        let mut half_open = TcpStream::connect(host).await.unwrap();
        half_open.write_all(b"WAWO").await.unwrap();
        let silent = TcpStream::connect(host).await.unwrap();
        let deaf = deaf_caller(host).await;
        let peer = Peer::connect(&*address).await.unwrap();
        let echo = EchoClient::new(&peer);
        let stuck = tokio::spawn(echo.act(message("wait")).into_future());
        let unread = echo.repeat(RepeatRequest {
            data: vec![7; 10_000].into(),
            times: u32::MAX,
        });
        let unread = unread.await.unwrap();
        let begun = |seen: &crate::support::Seen| seen.begun.load(Ordering::SeqCst) == 1;
        parrot.0.until(begun).await;

        let grace = Duration::from_millis(50);
        let bound = grace + Duration::from_millis(500);
        let begin = std::time::Instant::now();
        let report = timeout(bound, handle.drain(grace)).await;
        let report = report.unwrap_or_else(|_| panic!("round {round}: still draining"));
        assert!(begin.elapsed() >= grace);
        assert!(report.cut.iter().any(|cut| cut.calls >= 2), "{report:?}");
        assert!(stuck.await.unwrap().is_err());
        assert!(timeout(bound, running).await.unwrap().unwrap().is_ok());
        drop((half_open, silent, deaf, unread));
    }
}

/// Requests much, and reads none of it.
async fn deaf_caller(host: &str) -> TcpStream {
    let mut socket = TcpStream::connect(host).await.unwrap();
    let mut bytes = b"WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
    for call in 0..20_u8 {
        // A call of `Say` with a message of 30,000 bytes.
        let length = 8 + 4 + 30_000_u32;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&[6, 1, 0, 0, 0, 0, 0, 2 * call + 1]);
        bytes.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 1]);
        bytes.extend_from_slice(&[0x0a, 0xb0, 0xea, 0x01]);
        bytes.extend_from_slice(&[7; 30_000]);
    }
    socket.write_all(&bytes).await.unwrap();
    socket
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_greeted_is_drained_at_once() {
    let (_here, there) = tokio::io::duplex(1024);
    let mut server = Server::builder().build().unwrap();
    let peer = server.accept_over(there).unwrap();
    let begin = Instant::now();
    let report = peer.drain(60 * SECOND).await;
    assert_eq!((report.peers, report.finished), (1, 0));
    assert!(begin.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn one_way_messages_in_flight_are_waited_for() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    echo.note(message("wait")).await.unwrap();
    echo.say(message("")).await.unwrap();
    let to_client = pair.to_client.clone();
    let drain = tokio::spawn(async move { to_client.drain(9 * SECOND).await });
    pair.to_server.draining().await;
    assert!(!drain.is_finished());
    pair.at_server.release.notify_one();
    let report = drain.await.unwrap();
    assert_eq!((report.finished, report.cut.len()), (1, 0));
    assert_eq!(pair.at_server.notes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn draining_a_client_lets_its_last_messages_out() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    for _ in 0..100 {
        echo.note(message(vec![7; 50_000])).await.unwrap();
    }
    let report = pair.to_server.drain(10 * SECOND).await;
    assert!(report.cut.is_empty(), "{report:?}");
    let all = |seen: &crate::support::Seen| seen.notes.load(Ordering::SeqCst) == 100;
    pair.at_server.until(all).await;
}
