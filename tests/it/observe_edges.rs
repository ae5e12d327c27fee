//! Observers at the edges: limits, deadlines of streams, and records that change hands. Time is paused.

use std::{
    future::IntoFuture,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{executor::block_on, stream};
use prost::Message as _;
use tokio::sync::mpsc;
use wawo::{
    Body, Code, Config, ConfigBuilder, InProcess, Metrics, Peer, Presented, RawService, Refusal,
    Request, Server, ServiceDescriptor,
    layer::InFlightLayer,
    observe::{CallSide, CallSummary, Observe, ObservedCall},
};

use crate::{
    observe::{Ended, recorder},
    support::{
        EchoClient, EchoServer, Message, Parrot, RepeatRequest, Seen, echo, echo_service::method,
        message,
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// The end of a call: side, method and code.
type End = (CallSide, String, Code);

/// A parrot and a caller, observed on both sides.
struct Two {
    echo: EchoClient,
    peer: Peer,
    accepted: Peer,
    server: Server,
    seen: Arc<Seen>,
    ends: mpsc::UnboundedReceiver<Ended>,
    metrics: Metrics,
}

async fn two(at_client: Config, at_server: Config) -> Two {
    let (recorder, ends) = recorder();
    let (parrot, metrics) = (Parrot::default(), Metrics::new());
    let seen = parrot.0.clone();
    let (here, there) = tokio::io::duplex(64 * 1024);
    let server = Server::builder()
        .config(at_server)
        .add_service(EchoServer::new(parrot));
    let server = server.metrics(&metrics).observe(recorder.clone());
    let mut server = server.build().unwrap();
    let accepted = server.accept_over(there).unwrap();
    let client = Peer::builder("").config(at_client).metrics(&metrics);
    let peer = client.observe(recorder).connect_over(here).await.unwrap();
    Two {
        echo: EchoClient::new(&peer),
        peer,
        accepted,
        server,
        seen,
        ends,
        metrics,
    }
}

impl Two {
    /// The ends of all calls, sorted; nothing is left then.
    async fn ends(mut self) -> Vec<End> {
        settle().await;
        drop((self.echo, self.peer, self.accepted, self.server));
        // One-way messages run on until their deadlines.
        tokio::time::sleep(60 * SECOND).await;
        assert_at_rest(&self.metrics);
        all_of(&mut self.ends)
    }
}

fn all_of(ends: &mut mpsc::UnboundedReceiver<Ended>) -> Vec<End> {
    let mut all = Vec::new();
    while let Ok(Ended {
        side, path, code, ..
    }) = ends.try_recv()
    {
        all.push((side, path.replace("tests.echo.Echo/", ""), code));
    }
    all.sort_by_key(|end| format!("{end:?}"));
    all
}

fn on_both_sides(method: &str, code: Code) -> Vec<End> {
    let sides = [CallSide::Client, CallSide::Server];
    sides
        .map(|side| (side, method.to_owned(), code))
        .into_iter()
        .collect()
}

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

fn assert_at_rest(metrics: &Metrics) {
    let text = metrics.to_prometheus();
    let families = text.split("# TYPE ");
    let gauges = families.filter_map(|family| family.split_once(" gauge\n"));
    for line in gauges.flat_map(|(_, samples)| samples.lines()) {
        assert!(line.starts_with('#') || line.ends_with(" 0"), "{line}");
    }
}

fn config(change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Config {
    change(Config::builder()).build().unwrap()
}

/// Calls are short, and streams long.
fn with_long_streams() -> Config {
    config(|it| {
        it.max_timeout(Some(SECOND))
            .max_stream_time(Some(3_600 * SECOND))
    })
}

fn endless() -> RepeatRequest {
    RepeatRequest {
        data: vec![0; 10_000].into(),
        times: u32::MAX,
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_dropped_after_max_timeout_is_cancelled() {
    let two = two(Config::default(), with_long_streams()).await;
    let replies = two.echo.repeat(endless()).await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    drop(replies);
    assert_eq!(two.ends().await, on_both_sides("Repeat", Code::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn so_is_a_stream_of_a_guest() {
    let (recorder, mut ends) = recorder();
    let server = Server::builder()
        .config(with_long_streams())
        .add_service(EchoServer::new(Parrot::default()))
        .observe(recorder);
    let server = server.build().unwrap();
    let guest = server.handle().gateway("pigeons").guest().build().unwrap();
    let bytes = Bytes::from(endless().encode_to_vec());
    let request = Request::new(&method::REPEAT, Body::One(bytes.into()));
    let replies = guest.call(request).await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    drop(replies);
    let expected = (CallSide::Server, "Repeat".to_owned(), Code::Cancelled);
    assert_eq!(all_of(&mut ends), [expected]);
}

#[tokio::test(start_paused = true)]
async fn calls_that_limits_end_end_once_on_both_sides() {
    let code = Code::ResourceExhausted;
    let one = two(Config::default(), config(|it| it.max_streams(1))).await;
    let first = one.echo.talk(stream::pending::<Message>()).await.unwrap();
    for _ in 0..2 {
        let ended = one.echo.repeat(endless()).await.map(drop);
        assert_eq!(ended.unwrap_err().code(), code);
    }
    drop(first);
    let mut expected = on_both_sides("Repeat", code);
    expected.extend(on_both_sides("Repeat", code));
    expected.extend(on_both_sides("Talk", Code::Cancelled));
    expected.sort_by_key(|end| format!("{end:?}"));
    assert_eq!(one.ends().await, expected);

    let small = || config(|it| it.max_message_bytes(70_000));
    let data = Bytes::from(vec![b'x'; 100_000]);
    let unary = two(small(), Config::default()).await;
    let status = unary.echo.say(message(data.clone())).await.unwrap_err();
    assert_eq!(status.code(), code);
    assert_eq!(unary.ends().await, on_both_sides("Say", code));

    let streamed = two(small(), Config::default()).await;
    let call = streamed.echo.repeat(RepeatRequest { data, times: 3 });
    let mut replies = call.await.unwrap();
    assert_eq!(replies.message().await.unwrap_err().code(), code);
    drop(replies);
    assert_eq!(streamed.ends().await, on_both_sides("Repeat", code));
}

#[tokio::test(start_paused = true)]
async fn records_of_calls_in_one_read_are_not_mixed_up() {
    const TIMES: usize = 20;

    let two = two(Config::default(), Config::default()).await;
    let mut calls = Vec::new();
    for _ in 0..TIMES {
        for text in ["hi", "wait", "hi"] {
            two.echo.note(message(text)).await.unwrap();
            for text in ["fail", "yield", "say"] {
                let call = two.echo.act(message(text));
                calls.push(tokio::spawn(call.into_future()));
            }
        }
    }
    for call in calls {
        let _ = call.await.unwrap();
    }
    for _ in 0..TIMES {
        two.seen.release.notify_one();
        settle().await;
    }
    let ends = two.ends().await;
    for side in [CallSide::Client, CallSide::Server] {
        let count = |method: &str, code| {
            let end = (side, method.to_owned(), code);
            ends.iter().filter(|other| **other == end).count()
        };
        assert_eq!(count("Note", Code::Ok), 3 * TIMES);
        assert_eq!(count("Act", Code::Ok), 6 * TIMES);
        assert_eq!(count("Act", Code::FailedPrecondition), 3 * TIMES);
    }
    assert_eq!(ends.len(), 2 * 12 * TIMES);
}

#[derive(Debug)]
struct User;

/// Keeps which calls had an identity at their end.
#[derive(Default, Clone)]
struct Identities(Arc<Mutex<Vec<bool>>>);

impl Observe for Identities {
    fn ended(&self, call: &ObservedCall<'_>, _: &CallSummary<'_>) {
        self.0.lock().unwrap().push(call.identity().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_one_way_message_that_waits_keeps_the_identity_of_its_connection() {
    let (parrot, identities) = (Parrot::default(), Identities::default());
    let seen = parrot.0.clone();
    let (here, there) = tokio::io::duplex(64 * 1024);
    let server = Server::builder()
        .add_service(EchoServer::new(parrot))
        .authenticate(async |_: Presented| Ok::<_, Refusal>(User))
        .observe(identities.clone());
    let mut server = server.build().unwrap();
    let _accepted = server.accept_over(there).unwrap();
    let peer = Peer::builder("").connect_over(here).await.unwrap();
    let echo = EchoClient::new(&peer);
    echo.note(message("wait")).await.unwrap();
    echo.note(message("hi")).await.unwrap();
    settle().await;
    seen.release.notify_one();
    settle().await;
    assert_eq!(*identities.0.lock().unwrap(), [true, true]);
}

#[test]
fn a_one_way_message_outside_of_a_runtime_does_not_come_to_the_server() {
    let (recorder, mut ends) = recorder();
    let target = InProcess::new(EchoServer::new(Parrot::default())).with_observer(recorder);
    let status = block_on(EchoClient::new(&target).note(message("hi"))).unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let expected = (CallSide::Client, "Note".to_owned(), status.code());
    assert_eq!(all_of(&mut ends), [expected]);
}

#[tokio::test(start_paused = true)]
async fn calls_of_all_kinds_that_a_layer_refuses_are_counted() {
    for is_native in [true, false] {
        let (metrics, parrot) = (Metrics::new(), Parrot::default());
        let seen = parrot.0.clone();
        let service = EchoServer::new(parrot).layer(InFlightLayer::new(1));
        let (echo, _server) = if is_native {
            let (here, there) = tokio::io::duplex(64 * 1024);
            let server = Server::builder().add_service(service).metrics(&metrics);
            let mut server = server.build().unwrap();
            let _ = server.accept_over(there).unwrap();
            let peer = Peer::builder("").connect_over(here).await.unwrap();
            (EchoClient::new(&peer), Some(server))
        } else {
            let target = InProcess::new(service).with_metrics(&metrics);
            (EchoClient::new(&target), None)
        };
        let held = tokio::spawn(echo.act(message("hold")).into_future());
        let begun = |seen: &Seen| seen.begun.load(Ordering::SeqCst) > 0;
        seen.until(begun).await;
        echo.say(message("hi")).await.unwrap_err();
        echo.note(message("hi")).await.unwrap();
        settle().await;
        seen.release.notify_one();
        held.await.unwrap().unwrap();
        let refused = metrics.snapshot().refused;
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!((refused[0].side, refused[0].count), (CallSide::Server, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_observed_before_it_is_decoded() {
    let (recorder, mut ends) = recorder();
    let services = ServiceDescriptor::all_in(echo::FILE_DESCRIPTOR_SET).unwrap();
    let service = RawService::new(services[0].clone(), |_, _| async {
        Ok(Body::One(Bytes::from_static(b"\xff\xff").into()))
    });
    let target = InProcess::new(service).with_observer(recorder);
    let status = EchoClient::new(&target).say(message("hi")).await;
    assert_eq!(status.unwrap_err().code(), Code::Internal);
    assert_eq!(all_of(&mut ends), on_both_sides("Say", Code::Ok));
}

#[test]
fn nothing_is_left_when_a_runtime_ends() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let two = runtime.block_on(async {
        let two = two(Config::default(), Config::default()).await;
        for _ in 0..5 {
            tokio::spawn(two.echo.act(message("wait")).into_future());
            two.echo.note(message("wait")).await.unwrap();
            let call = two.echo.talk(stream::pending::<Message>());
            let mut replies = call.await.unwrap();
            tokio::spawn(async move { replies.message().await });
            let mut replies = two.echo.repeat(endless()).await.unwrap();
            tokio::spawn(async move { while let Ok(Some(_)) = replies.message().await {} });
        }
        let begun = |seen: &Seen| seen.begun.load(Ordering::SeqCst) == 5;
        two.seen.until(begun).await;
        two
    });
    drop(runtime);
    let Two {
        echo,
        peer,
        accepted,
        server,
        mut ends,
        metrics,
        ..
    } = two;
    drop((echo, peer, accepted, server));
    assert_at_rest(&metrics);
    assert_eq!(all_of(&mut ends).len(), 2 * 4 * 5);
}
