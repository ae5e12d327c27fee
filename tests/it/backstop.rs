//! Calls end at their deadlines even if their driver or runtime is stuck.
//!
//! These tests use real time, because they test behaviour in real time. None depends on how long
//! something takes.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use futures::{StreamExt, executor::block_on, stream};
use tokio::runtime::{Handle, Runtime};
use wawo::{
    Code, Config, ConfigBuilder, ConnectError, Context, Delivery, InProcess, Peer, Result,
    ServeError, Server, Status, Streaming,
};

use crate::{
    real_time::{FOR_EVER, Gate, ends, one_thread, threads},
    support::{
        Echo, EchoClient, EchoServer, Message, Pair, Parrot, RepeatRequest, message, pair,
        pair_with,
    },
};

/// The timeout of calls that must end at their deadline.
const SHORT: Duration = Duration::from_millis(200);

/// Blocks its thread at once.
#[derive(Debug, Default, Clone)]
struct Blocker(Arc<Gate>);

impl Echo for Blocker {
    /// Blocks until the gate opens.
    async fn say(&self, _: Context, message: Message) -> Result<Message> {
        self.0.wait();
        Ok(message)
    }

    /// Blocks until a call to the peer has ended, and returns the status of that call.
    async fn act(&self, cx: Context, request: Message) -> Result<Message> {
        let back = EchoClient::new(&cx.peer());
        let call = back.say(request).timeout(SHORT);
        let status = tokio::task::block_in_place(|| Handle::current().block_on(call)).unwrap_err();
        Ok(message(format!("{:?}", status.code())))
    }

    async fn note(&self, _: Context, _: Message) {}

    async fn repeat(&self, _: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let items = stream::once(async move { Ok(message(request.data)) });
        Ok(Streaming::new(items.chain(stream::pending())))
    }

    async fn join(&self, _: Context, _: Streaming<Message>) -> Result<Message> {
        std::future::pending().await
    }

    async fn talk(&self, _: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(requests)
    }
}

/// A connection whose accepting side serves the blocker, and the server that owns it.
async fn to(service: Blocker, config: Config) -> (Peer, Server) {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let mut server = Server::builder().add_service(EchoServer::new(service));
    server = server.config(config.clone());
    let mut server = server.build().unwrap();
    let _ = server.accept_over(there).unwrap();
    let peer = Peer::builder("")
        .config(config)
        .add_service(EchoServer::new(Parrot::default()));
    (peer.connect_over(here).await.unwrap(), server)
}

fn is_late(status: &Status) {
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
}

#[test]
fn a_handler_that_blocks_its_driver_in_a_call_back_ends_and_so_does_the_drain() {
    ends(|| {
        let runtime = threads(2);
        let reply = runtime.block_on(async {
            let (peer, _server) = to(Blocker::default(), Config::default()).await;
            let echo = EchoClient::new(&peer);
            let reply = echo.act(message("back")).timeout(FOR_EVER).await.unwrap();
            let report = peer.drain(FOR_EVER).await;
            assert!(report.cut.is_empty(), "{report:?}");
            reply
        });
        assert_eq!(reply.data, "DeadlineExceeded");
    });
}

#[test]
fn a_handler_that_blocks_does_not_hold_up_the_deadlines_of_calls_beside_it() {
    ends(|| {
        let runtime = threads(4);
        let at_client = Blocker::default();
        let gate = at_client.0.clone();
        runtime.block_on(async {
            let (here, there) = tokio::io::duplex(64 * 1024);
            let mut server = Server::builder()
                .add_service(EchoServer::new(Parrot::default()))
                .build()
                .unwrap();
            let back = server.accept_over(there).unwrap();
            let peer = Peer::builder("").add_service(EchoServer::new(at_client));
            let peer = peer.connect_over(here).await.unwrap();
            let echo = EchoClient::new(&peer);
            // One call is in flight when the driver gets stuck, the other is made afterwards.
            let before = tokio::spawn(echo.act(message("wait")).timeout(SHORT));
            echo.say(message("it has left")).await.unwrap();
            let back = EchoClient::new(&back);
            let blocking = tokio::spawn(back.say(message("block")).timeout(FOR_EVER));
            is_late(&before.await.unwrap().unwrap_err());
            let after = echo.act(message("wait")).timeout(SHORT);
            is_late(&tokio::spawn(after).await.unwrap().unwrap_err());
            gate.open();
            blocking.await.unwrap().unwrap();
            assert_eq!(echo.say(message("on")).await.unwrap().data, "on");
        });
    });
}

/// Both ends of a connection in a runtime that nobody polls any more.
fn unpolled(config: Config) -> (Runtime, Pair) {
    let runtime = one_thread();
    let pair = runtime.block_on(pair_with(config.clone(), config));
    (runtime, pair)
}

fn short() -> Config {
    let config = Config::builder().default_timeout(Some(SHORT));
    config.build().unwrap()
}

#[test]
fn a_call_ends_though_its_runtime_is_not_polled_any_more() {
    ends(|| {
        let (_runtime, pair) = unpolled(short());
        let echo = EchoClient::new(&pair.to_server);
        for call in [
            // One call has the default timeout of the connection, the other its own.
            echo.say(message("")),
            echo.say(message("")).timeout(SHORT),
        ] {
            let status = block_on(call).unwrap_err();
            is_late(&status);
            assert_eq!(status.delivery(), Delivery::NotSent);
        }
    });
}

#[test]
fn a_call_in_flight_ends_though_its_runtime_is_not_polled_any_more() {
    ends(|| {
        let (runtime, pair) = unpolled(Config::default());
        let echo = EchoClient::new(&pair.to_server);
        let mut call = Box::pin(echo.act(message("wait")).timeout(SHORT));
        runtime.block_on(async {
            assert!(futures::poll!(call.as_mut()).is_pending());
            pair.at_server
                .until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
                .await;
        });
        let status = block_on(call).unwrap_err();
        is_late(&status);
        assert_eq!(status.delivery(), Delivery::Unknown);
        assert!(status.message().contains("its runtime is"), "{status}");
    });
}

#[test]
fn a_stream_of_replies_ends_though_its_runtime_is_not_polled_any_more() {
    ends(|| {
        let runtime = one_thread();
        let (peer, _server) = runtime.block_on(to(Blocker::default(), Config::default()));
        let echo = EchoClient::new(&peer);
        let request = RepeatRequest {
            data: "one".into(),
            times: 1,
        };
        let call = echo.repeat(request).timeout(10 * SHORT);
        let mut replies = runtime.block_on(call).unwrap();
        let first = runtime.block_on(replies.message()).unwrap().unwrap();
        assert_eq!(first.data, "one");
        is_late(&block_on(replies.message()).unwrap_err());
        drop(replies);
        // When the runtime is polled again, the connection works as before.
        let call = runtime.block_on(EchoClient::new(&peer).note(message("")));
        call.unwrap();
    });
}

#[test]
fn calls_that_wait_for_room_need_no_runtime_and_end_at_their_deadlines() {
    ends(|| {
        let config = ConfigBuilder::from(short()).max_waiting_calls(2).build();
        let (runtime, pair) = unpolled(config.unwrap());
        let echo = EchoClient::new(&pair.to_server);
        // One call finds room in the mailbox, the others wait in the queue.
        let calls = (0..10).map(|_| {
            thread::spawn({
                let echo = echo.clone();
                move || block_on(echo.say(message("")))
            })
        });
        for call in calls.collect::<Vec<_>>() {
            let status = call.join().unwrap().unwrap_err();
            is_late(&status);
            assert_eq!(status.delivery(), Delivery::NotSent);
        }
        // All of them have left the queue.
        let reply = runtime.block_on(echo.say(message("on")).timeout(FOR_EVER));
        assert_eq!(reply.unwrap().data, "on");
    });
}

#[test]
fn calls_from_outside_of_runtimes_work_under_back_pressure() {
    ends(|| {
        let config = Config::builder().max_waiting_calls(2).build().unwrap();
        let runtime = threads(2);
        let pair = runtime.block_on(pair_with(config.clone(), config));
        let echo = EchoClient::new(&pair.to_server);
        let callers = (0..16).map(|_| {
            let echo = echo.clone();
            thread::spawn(move || {
                for _ in 0..200 {
                    block_on(echo.say(message("a")).timeout(FOR_EVER)).unwrap();
                }
            })
        });
        callers
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|caller| caller.join().unwrap());
    });
}

#[test]
fn calls_in_process_need_no_runtime_and_end_at_their_deadlines() {
    ends(|| {
        let echo = EchoClient::new(&InProcess::new(EchoServer::new(Blocker::default())));
        is_late(&block_on(echo.join(Streaming::empty()).timeout(SHORT)).unwrap_err());
        let request = RepeatRequest {
            data: "one".into(),
            times: 1,
        };
        let mut replies = block_on(echo.repeat(request).timeout(SHORT)).unwrap();
        assert_eq!(block_on(replies.message()).unwrap().unwrap().data, "one");
        is_late(&block_on(replies.message()).unwrap_err());
        let status = block_on(echo.note(message(""))).unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("runtime"), "{status}");
    });
}

#[test]
fn calls_through_a_limit_of_time_need_no_runtime() {
    ends(|| {
        let limit = wawo::layer::MaxTimeLayer::new(SHORT);
        let server = EchoServer::new(Blocker::default()).layer(limit);
        let echo = EchoClient::new(&InProcess::new(server));
        is_late(&block_on(echo.join(Streaming::empty()).timeout(FOR_EVER)).unwrap_err());
    });
}

#[test]
fn a_drain_needs_no_runtime_and_ends_with_its_grace() {
    ends(|| {
        let (runtime, pair) = unpolled(Config::default());
        let report = block_on(pair.to_server.drain(SHORT));
        assert_eq!(report.peers, 1);
        drop(runtime);
        let report = block_on(pair.to_server.drain(FOR_EVER));
        assert!(report.cut.is_empty(), "{report:?}");
    });
}

#[test]
fn errors_say_that_a_runtime_is_missing() {
    let error = block_on(Peer::connect("tcp://127.0.0.1:1")).unwrap_err();
    assert!(matches!(error, ConnectError::NoRuntime), "{error}");
    let (here, there) = tokio::io::duplex(64);
    let error = block_on(Peer::builder("").connect_over(here)).unwrap_err();
    assert!(error.to_string().contains("tokio runtime"), "{error}");
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let error = block_on(server.clone().bind("tcp://127.0.0.1:0")).unwrap_err();
    assert!(matches!(error, ServeError::NoRuntime), "{error}");
    let mut server = server.build().unwrap();
    assert!(matches!(
        server.accept_over(there),
        Err(ServeError::NoRuntime)
    ));
    let error = block_on(server.run()).unwrap_err();
    assert!(matches!(error, ServeError::NoRuntime), "{error}");
}

#[tokio::test]
async fn a_call_that_ends_late_leaves_the_connection_as_it_was() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    for _ in 0..3 {
        let call = echo.act(message("wait")).timeout(Duration::from_millis(20));
        is_late(&call.await.unwrap_err());
    }
    let report = pair.to_server.drain(FOR_EVER).await;
    assert!(report.cut.is_empty(), "{report:?}");
}
