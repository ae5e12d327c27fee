//! Layers see how a call ends, also by a panic or by its deadline. Time is paused.

use std::{
    cell::Cell,
    marker::PhantomData,
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream};
use prost::Message as _;
use tokio::sync::mpsc;
use tower::{Layer, Service, ServiceBuilder, limit::ConcurrencyLimitLayer};
use wawo::{
    Body, BoxError, Code, Codec, InProcess, Peer, Request, Response, ResponseFuture, Result, Serve,
    Server, Status, Streaming, codegen,
    layer::{BlockingLayer, PanicGuardLayer},
};

use crate::support::{
    EchoClient, EchoServer, Message, Parrot, RepeatRequest, Seen, client_of,
    echo_service::{
        SERVICE,
        method::{REPEAT, SAY},
    },
    message,
};

/// How a call, or its stream of replies, ended for a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Of(Code),
    Drop,
}

/// A layer that reports the end of each call, and of each stream of replies.
#[derive(Clone)]
pub(crate) struct Recorder(mpsc::UnboundedSender<Ending>);

/// The ends that a [`Recorder`] has seen.
pub(crate) struct Endings(mpsc::UnboundedReceiver<Ending>);

pub(crate) fn recorder() -> (Recorder, Endings) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Recorder(sender), Endings(receiver))
}

impl Endings {
    pub(crate) async fn next(&mut self) -> Ending {
        self.0.recv().await.expect("the layer is there")
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of a layer whose readiness is that of the layer with the fault: without it, it gets no call.
    async fn expect_panic(&mut self, fault: Fault) {
        match fault {
            Fault::PanicInReady => assert!(self.is_empty()),
            _ => assert_eq!(self.next().await, Ending::Of(Code::Internal), "{fault:?}"),
        }
    }
}

impl<S> Layer<S> for Recorder {
    type Service = Recording<S>;

    fn layer(&self, inner: S) -> Recording<S> {
        Recording {
            inner,
            recorder: self.clone(),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Recording<S> {
    inner: S,
    recorder: Recorder,
}

/// Reports a drop, unless something else was reported before.
struct Report(Option<Recorder>);

impl Report {
    fn end(&mut self, code: Code) {
        if let Some(recorder) = self.0.take() {
            let _ = recorder.0.send(Ending::Of(code));
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(recorder) = self.0.take() {
            let _ = recorder.0.send(Ending::Drop);
        }
    }
}

impl<S> Service<Request> for Recording<S>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx).map_err(Status::from_error)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let mut report = Report(Some(self.recorder.clone()));
        let reply = self.inner.call(request);
        async move {
            let result = reply.await.map_err(Status::from_error);
            match result.map(Response::into_parts) {
                Ok((parts, Body::Many(replies))) => {
                    let replies = ReplyRecording { replies, report };
                    Ok(Response::from_parts(
                        parts,
                        Body::Many(Streaming::new(replies)),
                    ))
                }
                Ok((parts, body)) => {
                    report.end(Code::Ok);
                    Ok(Response::from_parts(parts, body))
                }
                Err(status) => {
                    report.end(status.code());
                    Err(status)
                }
            }
        }
        .boxed()
    }
}

struct ReplyRecording {
    replies: Streaming<Bytes>,
    report: Report,
}

impl Stream for ReplyRecording {
    type Item = Result<Bytes>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Bytes>>> {
        let polled = self.replies.poll_next_unpin(cx);
        match &polled {
            Poll::Ready(None) => self.report.end(Code::Ok),
            Poll::Ready(Some(Err(status))) => self.report.end(status.code()),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }
}

/// A service in the same process, or over a connection, which lasts as long as this.
struct Way {
    echo: EchoClient,
    _server: Option<(Server, Peer)>,
}

/// Both ways to a service.
async fn both_ways(service: impl Serve) -> [Way; 2] {
    let in_process = Way {
        echo: EchoClient::new(&InProcess::new(service.clone())),
        _server: None,
    };
    let mut server = Server::builder().add_service(service).build().unwrap();
    let peer = client_of(&mut server).await;
    let connected = Way {
        echo: EchoClient::new(&peer),
        _server: Some((server, peer)),
    };
    [in_process, connected]
}

const TIMEOUT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_layer_sees_the_panic_of_a_handler_and_of_its_stream() {
    let (recorder, mut seen) = recorder();
    for way in both_ways(EchoServer::new(Parrot::default()).layer(recorder)).await {
        for what in ["panic", "yield and panic"] {
            let status = way.echo.act(message(what)).await.unwrap_err();
            assert_eq!(status.message(), "the handler panicked");
            assert_eq!(seen.next().await, Ending::Of(Code::Internal));
        }
        let request = RepeatRequest {
            data: "panic".into(),
            times: 1,
        };
        let mut replies = way.echo.repeat(request).await.unwrap();
        assert_eq!(replies.message().await.unwrap_err().code(), Code::Internal);
        assert_eq!(seen.next().await, Ending::Of(Code::Internal));
        assert_eq!(way.echo.act(message("fine")).await.unwrap().data, "fine");
        assert_eq!(seen.next().await, Ending::Of(Code::Ok));
    }
}

/// Panics where the message says so.
#[derive(Debug, Clone, Copy, Default)]
struct PanickingCodec;

impl Codec<Message> for PanickingCodec {
    fn encode(self, message: &Message) -> Bytes {
        assert!(message.data != "encode", "as asked");
        message.encode_to_vec().into()
    }

    fn decode(self, bytes: Bytes) -> Result<Message, BoxError> {
        let message = Message::decode(bytes)?;
        assert!(message.data != "decode", "as asked");
        Ok(message)
    }
}

impl Codec<RepeatRequest> for PanickingCodec {
    fn encode(self, message: &RepeatRequest) -> Bytes {
        message.encode_to_vec().into()
    }

    fn decode(self, bytes: Bytes) -> Result<RepeatRequest, BoxError> {
        Ok(RepeatRequest::decode(bytes)?)
    }
}

/// An echo as the generator writes it, but for its codec; or a service whose future panics.
#[derive(Debug, Clone)]
struct PanickingServer<F>(PhantomData<F>);

/// How a [`PanickingServer`] serves.
trait ServeCall: Send + Sync + Clone + 'static {
    fn call(request: Request) -> ResponseFuture;
}

#[derive(Debug, Clone)]
struct ByCodec;

impl ServeCall for ByCodec {
    fn call(request: Request) -> ResponseFuture {
        if request.method() == SAY.id() {
            let echo = |_, message: Message| async move { Ok(message) };
            return codegen::unary(&SAY, PanickingCodec, request, echo);
        }
        let repeat = |_, request: RepeatRequest| async move {
            let data = message(request.data);
            Ok(Streaming::new(stream::once(async { data })))
        };
        codegen::server_streaming(&REPEAT, PanickingCodec, request, repeat)
    }
}

#[derive(Debug, Clone)]
struct ByHand;

impl ServeCall for ByHand {
    fn call(_: Request) -> ResponseFuture {
        let panics = || -> Result<Response> { panic!("as asked") };
        ResponseFuture::new(async move { panics() })
    }
}

impl<F: ServeCall> Serve for PanickingServer<F> {
    fn descriptor(&self) -> &'static wawo::ServiceDescriptor {
        &SERVICE
    }
}

impl<F: ServeCall> Service<Request> for PanickingServer<F> {
    type Response = Response;
    type Error = Status;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> ResponseFuture {
        F::call(request)
    }
}

#[tokio::test]
async fn a_layer_sees_the_panic_of_the_codec() {
    let (recorder, mut seen) = recorder();
    let service = codegen::Layered::new(PanickingServer::<ByCodec>(PhantomData), recorder, None);
    for way in both_ways(service).await {
        for what in ["decode", "encode"] {
            let status = way.echo.say(message(what)).await.unwrap_err();
            assert_eq!(status.message(), "a layer, or the codec, panicked");
            assert_eq!(seen.next().await, Ending::Of(Code::Internal));
        }
        let request = RepeatRequest {
            data: "encode".into(),
            times: 1,
        };
        let mut replies = way.echo.repeat(request).await.unwrap();
        let status = replies.message().await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(seen.next().await, Ending::Of(Code::Internal));
    }
}

#[tokio::test]
async fn a_layer_sees_the_panic_of_a_service_that_was_written_by_hand() {
    let (recorder, mut seen) = recorder();
    let service = codegen::Layered::new(PanickingServer::<ByHand>(PhantomData), recorder, None);
    for way in both_ways(service).await {
        let status = way.echo.say(message("")).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(seen.next().await, Ending::Of(Code::Internal));
    }
}

/// A layer that panics, or does not end, in a part of a call.
#[derive(Debug, Clone, Copy)]
enum Fault {
    PanicInReady,
    PanicInCall,
    PanicInFuture,
    NoEnd,
}

impl<S> Layer<S> for Fault {
    type Service = FaultyService<S>;

    fn layer(&self, inner: S) -> FaultyService<S> {
        FaultyService {
            fault: *self,
            inner,
        }
    }
}

#[derive(Clone)]
struct FaultyService<S> {
    fault: Fault,
    inner: S,
}

impl<S> Service<Request> for FaultyService<S>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        assert!(!matches!(self.fault, Fault::PanicInReady), "as asked");
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        assert!(!matches!(self.fault, Fault::PanicInCall), "as asked");
        let (fault, reply) = (self.fault, self.inner.call(request));
        async move {
            assert!(!matches!(fault, Fault::PanicInFuture), "as asked");
            if matches!(fault, Fault::NoEnd) {
                std::future::pending::<()>().await;
            }
            reply.await.map_err(Into::into)
        }
        .boxed()
    }
}

const PANICS: [Fault; 3] = [
    Fault::PanicInReady,
    Fault::PanicInCall,
    Fault::PanicInFuture,
];

#[tokio::test]
async fn a_layer_sees_the_panic_of_a_layer_inside_of_it() {
    for fault in PANICS {
        let (recorder, mut seen) = recorder();
        let echo = EchoServer::new(Parrot::default());
        for way in both_ways(echo.layer(fault).layer(recorder)).await {
            let status = way.echo.say(message("")).await.unwrap_err();
            assert_eq!(status.message(), "a layer, or the codec, panicked");
            assert_eq!(seen.next().await, Ending::Of(Code::Internal), "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_layer_of_a_server_sees_the_panics_of_those_that_were_added_later() {
    for fault in PANICS {
        let (recorder, mut seen) = recorder();
        let server = Server::builder().layer(recorder).layer(fault);
        let server = server.add_service(EchoServer::new(Parrot::default()));
        let mut server = server.build().unwrap();
        let peer = client_of(&mut server).await;
        let status = EchoClient::new(&peer).say(message("")).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        seen.expect_panic(fault).await;
    }
}

#[tokio::test]
async fn of_layers_that_were_stacked_before_the_outer_sees_a_panic_if_there_is_a_guard() {
    for fault in PANICS {
        let (recorder, mut seen) = recorder();
        let stack = ServiceBuilder::new()
            .layer(recorder)
            .layer(PanicGuardLayer::new())
            .layer(fault);
        let echo = EchoServer::new(Parrot::default()).layer(stack);
        let echo = EchoClient::new(&InProcess::new(echo));
        let status = echo.say(message("")).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        seen.expect_panic(fault).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_sees_the_deadline_of_a_handler_that_waits_and_is_dropped() {
    let (recorder, mut seen) = recorder();
    let parrot = Parrot::default();
    let ways = both_ways(EchoServer::new(parrot.clone()).layer(recorder)).await;
    for (dropped, way) in ways.iter().enumerate() {
        let call = way.echo.act(message("wait")).timeout(TIMEOUT);
        let status = call.await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(
            status.message().ends_with("(timeout of the call)"),
            "{status}"
        );
        assert_eq!(seen.next().await, Ending::Of(Code::DeadlineExceeded));
        let is_so = |seen: &Seen| seen.dropped.load(Ordering::SeqCst) == dropped + 1;
        parrot.0.until(is_so).await;
    }
    assert!(seen.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_layer_sees_the_deadline_of_a_one_way_message() {
    let (recorder, mut seen) = recorder();
    let parrot = Parrot::default();
    for way in both_ways(EchoServer::new(parrot.clone()).layer(recorder)).await {
        let note = way.echo.note(message("wait")).timeout(TIMEOUT);
        note.await.unwrap();
        assert_eq!(seen.next().await, Ending::Of(Code::DeadlineExceeded));
    }
    assert_eq!(parrot.0.notes.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_layer_sees_the_deadline_of_a_stream_of_replies() {
    let (recorder, mut seen) = recorder();
    for way in both_ways(EchoServer::new(Parrot::default()).layer(recorder)).await {
        let (requests, of_call) = Streaming::channel(1);
        requests.send(message("first")).await.unwrap();
        let call = way.echo.talk(of_call.map(Result::unwrap)).timeout(TIMEOUT);
        let mut replies = call.await.unwrap();
        assert!(replies.message().await.unwrap().is_some());
        assert!(seen.is_empty());
        let status = replies.message().await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(seen.next().await, Ending::Of(Code::DeadlineExceeded));
        assert!(replies.message().await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_sees_the_deadline_of_a_call_that_waits_for_its_turn() {
    let (recorder, mut seen) = recorder();
    let parrot = Parrot::default();
    let echo = EchoServer::new(parrot.clone())
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(recorder);
    let echo = EchoClient::new(&InProcess::new(echo));
    let hold = tokio::spawn(echo.act(message("hold")).into_future());
    let begun = |seen: &Seen| seen.begun.load(Ordering::SeqCst) == 1;
    parrot.0.until(begun).await;
    let status = echo.say(message("")).timeout(TIMEOUT).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(seen.next().await, Ending::Of(Code::DeadlineExceeded));
    parrot.0.release.notify_one();
    hold.await.unwrap().unwrap();
    assert_eq!(seen.next().await, Ending::Of(Code::Ok));
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_does_not_end_is_dropped_at_the_deadline_and_those_outside_see_it() {
    let (inside, mut seen_inside) = recorder();
    let (outside, mut seen_outside) = recorder();
    let echo = EchoServer::new(Parrot::default())
        .layer(inside)
        .layer(Fault::NoEnd)
        .layer(outside);
    for way in both_ways(echo).await {
        let call = way.echo.say(message("")).timeout(TIMEOUT);
        assert_eq!(call.await.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(
            seen_outside.next().await,
            Ending::Of(Code::DeadlineExceeded)
        );
        // It was never polled.
        assert_eq!(seen_inside.next().await, Ending::Drop);
    }
}

/// A layer that panics when a call inside of it fails.
#[derive(Clone)]
struct PanicOnFailure;

impl<S> Layer<S> for PanicOnFailure {
    type Service = tower::util::MapErr<S, fn(Status) -> Status>;

    fn layer(&self, inner: S) -> Self::Service {
        tower::util::MapErr::new(inner, |_| panic!("as asked"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_at_the_deadline_stays_with_its_call() {
    let (recorder, mut seen) = recorder();
    let echo = EchoServer::new(Parrot::default());
    for way in both_ways(echo.layer(PanicOnFailure).layer(recorder)).await {
        let call = way.echo.act(message("wait")).timeout(TIMEOUT);
        assert_eq!(call.await.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(seen.next().await, Ending::Of(Code::Internal));
        assert_eq!(way.echo.say(message("a")).await.unwrap().data, "a");
        assert_eq!(seen.next().await, Ending::Of(Code::Ok));
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_sees_a_cancel_and_a_lost_connection_as_a_drop() {
    let (recorder, mut seen) = recorder();
    let parrot = Parrot::default();
    let calls = Cell::new(0);
    let ways = both_ways(EchoServer::new(parrot.clone()).layer(recorder)).await;
    let wait = |way: &Way| tokio::spawn(way.echo.act(message("wait")).into_future());
    let until_begun = async || {
        calls.update(|calls| calls + 1);
        let is_so = |seen: &Seen| seen.begun.load(Ordering::SeqCst) == calls.get();
        parrot.0.until(is_so).await;
    };
    for way in &ways {
        let call = wait(way);
        until_begun().await;
        call.abort();
        assert_eq!(seen.next().await, Ending::Drop);
    }
    let [_, connected] = ways;
    let call = wait(&connected);
    until_begun().await;
    drop(connected._server);
    assert_eq!(seen.next().await, Ending::Drop);
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_layer_sees_the_deadline_of_a_handler_that_blocks() {
    let (recorder, mut seen) = recorder();
    let echo = EchoServer::new(Parrot::default());
    for way in both_ways(echo.layer(BlockingLayer::new()).layer(recorder)).await {
        // In real time, since the clock of a test does not go on by itself while threads block.
        let timeout = Duration::from_millis(50);
        let call = way.echo.act(message("wait")).timeout(timeout);
        assert_eq!(call.await.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(seen.next().await, Ending::Of(Code::DeadlineExceeded));
    }
}
