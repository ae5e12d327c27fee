//! A server drains in every state, and within its grace period.

use std::{
    future::IntoFuture,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use wawo::{
    Context, DrainReport, Peer, Result, ServeError, Server, ServerHandle, Status, Streaming,
};

use crate::support::{Echo, EchoClient, EchoServer, Message, Parrot, RepeatRequest, Seen, message};

const SECOND: Duration = Duration::from_secs(1);

/// The maximum time that a drain takes beyond its grace period.
const LATE: Duration = Duration::from_millis(250);

fn server() -> (Server, Parrot) {
    let parrot = Parrot::default();
    let server = Server::builder().add_service(EchoServer::new(parrot.clone()));
    (server.build().unwrap(), parrot)
}

async fn connect(handle: &ServerHandle) -> Peer {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let _ = handle.accept_over(there).unwrap();
    Peer::builder("").connect_over(here).await.unwrap()
}

/// Makes a call with this action; returns when its handler has begun.
async fn begin(peer: &Peer, what: &'static str, parrot: &Parrot) -> JoinHandle<Result<Message>> {
    let before = parrot.0.begun.load(Ordering::SeqCst);
    let call = EchoClient::new(peer).act(message(what));
    let call = tokio::spawn(call.timeout(600 * SECOND).into_future());
    let begun = |seen: &Seen| seen.begun.load(Ordering::SeqCst) > before;
    parrot.0.until(begun).await;
    call
}

/// Drains; returns the report and the time that it took.
async fn drain(handle: &ServerHandle, grace: Duration) -> (DrainReport, Duration) {
    let begin = Instant::now();
    let report = timeout(1_000 * SECOND, handle.drain(grace)).await;
    (report.expect("it ends"), begin.elapsed())
}

fn counts(report: &DrainReport) -> (usize, usize, usize) {
    (report.peers, report.finished, report.cut.len())
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_run_lets_its_calls_end() {
    let (server, parrot) = server();
    let handle = server.handle();
    let peer = connect(&handle).await;
    let held = begin(&peer, "sleep", &parrot).await;
    let (report, took) = drain(&handle, 60 * SECOND).await;
    assert_eq!(counts(&report), (1, 1, 0), "{report:?}");
    assert!((5 * SECOND..5 * SECOND + LATE).contains(&took), "{took:?}");
    assert_eq!(held.await.unwrap().unwrap().data, "sleep");
    assert!(peer.is_closed());
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_run_is_cut_when_its_grace_is_over() {
    let (server, parrot) = server();
    let handle = server.handle();
    let peer = connect(&handle).await;
    let stuck = begin(&peer, "wait", &parrot).await;
    for grace in [2 * SECOND, Duration::ZERO] {
        // The second drain finds that the server has ended.
        let (report, took) = drain(&handle, grace).await;
        assert_eq!(counts(&report), (1, 0, 1), "{report:?}");
        assert!(report.cut[0].by_peer.is_none());
        assert!((grace..grace + LATE).contains(&took), "{took:?}");
    }
    assert!(stuck.await.unwrap().is_err());
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_grace_of_nothing_cuts_at_once() {
    let (server, parrot) = server();
    let peer = connect(&server.handle()).await;
    let stuck = begin(&peer, "wait", &parrot).await;
    let (report, took) = drain(&server.handle(), Duration::ZERO).await;
    assert_eq!(counts(&report), (1, 0, 1), "{report:?}");
    assert!(took < LATE, "{took:?}");
    let status = stuck.await.unwrap().unwrap_err();
    assert!(status.message().contains("grace for draining"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_connection_drains_at_once() {
    let (server, _) = server();
    let (report, took) = drain(&server.handle(), Duration::MAX).await;
    assert_eq!((counts(&report), took), ((0, 0, 0), Duration::ZERO));
    // The same outside of a runtime, where the server cannot have one.
    let (server, handle) = std::thread::spawn(|| {
        let (server, _) = self::server();
        let handle = server.handle();
        let report = futures::executor::block_on(handle.drain(Duration::MAX));
        assert_eq!(counts(&report), (0, 0, 0));
        (server, handle)
    })
    .join()
    .unwrap();
    drop(server);
    assert_eq!(counts(&handle.drain(SECOND).await), (0, 0, 0));
}

#[tokio::test]
async fn a_server_that_is_drained_before_it_runs_closes_its_port_and_does_not_run() {
    let (mut server, _) = server();
    server.bind("tcp://127.0.0.1:0").await.unwrap();
    let address = server.addresses()[0].to_string();
    let host = address.trim_start_matches("tcp://").to_owned();
    // This connection waits in the backlog.
    let waiting = TcpStream::connect(&host).await.unwrap();
    let report = timeout(20 * SECOND, server.handle().drain(SECOND)).await;
    assert_eq!(counts(&report.unwrap()), (0, 0, 0));
    assert!(TcpStream::connect(&host).await.is_err());
    drop(waiting);
    assert!(matches!(
        server.bind("tcp://127.0.0.1:0").await,
        Err(ServeError::Draining)
    ));
    timeout(20 * SECOND, server.run()).await.unwrap().unwrap();
}

/// The future of `run` is held, but nobody polls it.
#[tokio::test]
async fn a_server_whose_future_is_not_polled_drains() {
    let (mut server, _) = server();
    server.bind("tcp://127.0.0.1:0").await.unwrap();
    let address = server.addresses()[0].to_string();
    let handle = server.handle();
    let mut running = Box::pin(server.run());
    assert!(running.as_mut().now_or_never().is_none());
    let report = timeout(20 * SECOND, handle.drain(SECOND)).await;
    assert_eq!(counts(&report.unwrap()), (0, 0, 0));
    assert!(Peer::connect(address).await.is_err());
    timeout(20 * SECOND, running).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_drained_tells_the_same_when_it_runs() {
    let (server, parrot) = server();
    let peer = connect(&server.handle()).await;
    let stuck = begin(&peer, "wait", &parrot).await;
    let first = server.handle().drain(SECOND).await;
    let again = server.run_until(std::future::pending()).await;
    assert_eq!(counts(&first), counts(&again.unwrap()));
    assert_eq!(counts(&first), (1, 0, 1));
    assert!(stuck.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_second_drain_ends_the_first_one_earlier_and_never_later() {
    let (server, parrot) = server();
    let handle = server.handle();
    let peer = connect(&handle).await;
    let stuck = begin(&peer, "wait", &parrot).await;
    let patient = tokio::spawn({
        let handle = handle.clone();
        async move { drain(&handle, Duration::MAX).await }
    });
    peer.draining().await;
    let (report, took) = drain(&handle, 3 * SECOND).await;
    assert!((3 * SECOND..3 * SECOND + LATE).contains(&took), "{took:?}");
    assert_eq!(counts(&report), (1, 0, 1));
    assert_eq!(counts(&patient.await.unwrap().0), (1, 0, 1));
    assert!(stuck.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_drain_goes_on_when_its_future_is_dropped() {
    let (server, parrot) = server();
    let handle = server.handle();
    let running = tokio::spawn(server.run());
    let peer = connect(&handle).await;
    let stuck = begin(&peer, "wait", &parrot).await;
    let begin = Instant::now();
    assert!(handle.drain(2 * SECOND).now_or_never().is_none());
    running.await.unwrap().unwrap();
    let took = begin.elapsed();
    assert!((2 * SECOND..2 * SECOND + LATE).contains(&took), "{took:?}");
    assert!(stuck.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_dropped_while_it_drains_cuts_and_reports() {
    let (server, parrot) = server();
    let handle = server.handle();
    let running = tokio::spawn(server.run());
    let peer = connect(&handle).await;
    let stuck = begin(&peer, "wait", &parrot).await;
    let draining = tokio::spawn({
        let handle = handle.clone();
        async move { drain(&handle, Duration::MAX).await }
    });
    peer.draining().await;
    running.abort();
    let (report, took) = draining.await.unwrap();
    assert_eq!(counts(&report), (1, 0, 1), "{report:?}");
    // This side cut the call.
    assert!(report.cut[0].by_peer.is_none(), "{report:?}");
    assert!(took < LATE, "{took:?}");
    assert!(stuck.await.unwrap().is_err());
    // A server that was dropped without a drain has an empty report.
    let (server, _) = self::server();
    let handle = server.handle();
    drop(server);
    assert_eq!(counts(&handle.drain(Duration::MAX).await), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_comes_in_once_a_drain_has_begun() {
    let (mut server, parrot) = server();
    let handle = server.handle();
    let peer = connect(&handle).await;
    let held = begin(&peer, "sleep", &parrot).await;
    let draining = tokio::spawn({
        let handle = handle.clone();
        async move { handle.drain(60 * SECOND).await }
    });
    peer.draining().await;
    for _ in 0..2 {
        let (_here, there) = tokio::io::duplex(1024);
        let error = handle.accept_over(there).unwrap_err();
        let text = "the server drains or has ended, and takes no more connections";
        assert_eq!(error.to_string(), text);
        let (_here, there) = tokio::io::duplex(1024);
        assert!(matches!(
            server.accept_over(there),
            Err(ServeError::Draining)
        ));
        sleep(10 * SECOND).await;
    }
    assert_eq!(counts(&draining.await.unwrap()), (1, 1, 0));
    assert!(held.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_without_listeners_runs_until_it_is_drained() {
    let (server, _) = server();
    let handle = server.handle();
    let mut running = tokio::spawn(server.run());
    for _ in 0..3 {
        let peer = connect(&handle).await;
        let reply = EchoClient::new(&peer).say(message("hi")).await;
        assert_eq!(reply.unwrap().data, "hi");
    }
    assert!((&mut running).now_or_never().is_none());
    let report = handle.drain(SECOND).await;
    assert_eq!(report.cut.len(), 0);
    running.await.unwrap().unwrap();
}

/// A service that drains its own server from within a call.
#[derive(Debug, Clone)]
struct Suicidal {
    handle: Arc<OnceLock<ServerHandle>>,
    grace: Duration,
}

impl Echo for Suicidal {
    async fn act(&self, _cx: Context, message: Message) -> Result<Message> {
        let handle = self
            .handle
            .get()
            .ok_or_else(|| Status::internal("no handle"))?;
        if message.data == "spawn" {
            let (handle, grace) = (handle.clone(), self.grace);
            tokio::spawn(async move { handle.drain(grace).await });
        } else {
            handle.drain(self.grace).await;
        }
        Ok(message)
    }

    async fn say(&self, _cx: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn note(&self, _cx: Context, _message: Message) {}

    async fn repeat(&self, _cx: Context, _request: RepeatRequest) -> Result<Streaming<Message>> {
        Err(Status::internal("not called"))
    }

    async fn join(&self, _cx: Context, _requests: Streaming<Message>) -> Result<Message> {
        Err(Status::internal("not called"))
    }

    async fn talk(&self, _cx: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(requests)
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_drain_its_own_server() {
    for (what, is_cut) in [("wait", true), ("spawn", false)] {
        let service = Suicidal {
            handle: Arc::default(),
            grace: 2 * SECOND,
        };
        let server = Server::builder().add_service(EchoServer::new(service.clone()));
        let server = server.build().unwrap();
        let handle = server.handle();
        service.handle.set(handle.clone()).unwrap();
        let running = tokio::spawn(server.run_until(std::future::pending()));
        let peer = connect(&handle).await;
        let begin = Instant::now();
        let call = tokio::spawn(EchoClient::new(&peer).act(message(what)).into_future());
        let report = running.await.unwrap().unwrap();
        assert_eq!(report.cut.len(), usize::from(is_cut), "{what}: {report:?}");
        assert!(begin.elapsed() < 2 * SECOND + LATE, "{what}");
        assert_eq!(call.await.unwrap().is_err(), is_cut, "{what}");
    }
}

/// The runtime of the server shuts down, and the drain ends with it.
#[test]
fn a_drain_ends_with_its_runtime() {
    let runtime = || -> Runtime {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    };
    let (servers, drainers) = (runtime(), runtime());
    let (handle, peer, stuck) = servers.block_on(async {
        let (server, parrot) = server();
        let handle = server.handle();
        tokio::spawn(server.run());
        let peer = connect(&handle).await;
        let stuck = begin(&peer, "wait", &parrot).await;
        (handle, peer, stuck)
    });
    let (sender, report) = oneshot::channel();
    drainers.spawn(async move { sender.send(handle.drain(Duration::MAX).await) });
    servers.block_on(peer.draining());
    servers.shutdown_background();
    let report = drainers.block_on(async { timeout(20 * SECOND, report).await });
    assert_eq!(report.unwrap().unwrap().peers, 1);
    drop(stuck);
}
