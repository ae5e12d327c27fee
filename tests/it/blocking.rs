//! Handlers that block their thread, and messages that take long to decode. Most tests have a
//! single thread, so a handler that blocked it would hang the test.

use std::{
    future::IntoFuture,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use futures::{StreamExt, executor::block_on, stream};
use tokio::runtime::{Builder, Handle};
use wawo::{
    Code, Config, Context, InProcess, Peer, Result, Server, ServerBuilder, Status, Streaming,
    layer::{BlockingLayer, InFlightLayer},
};
use wawo_test_protos::tests::blocking::{
    Block, Disk, DiskClient, DiskServer, Part,
    disk_service::method::{READ, SEEK},
};

use crate::{
    real_time::{FOR_EVER, Gate, one_thread, threads},
    support::of_server,
};

#[derive(Debug, Default)]
struct State {
    /// The number of handlers that have begun.
    begun: AtomicUsize,
    /// The number of handlers that were dropped, at their end or before.
    dropped: AtomicUsize,
    gate: Gate,
}

impl State {
    /// Waits in a thread of its own.
    fn until(&self, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..FOR_EVER.as_millis() {
            if is_so(self) {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("it never comes so far: {self:?}");
    }
}

/// Blocks in each handler, until the gate opens if the text asks for it.
#[derive(Debug, Default, Clone)]
struct Spindle(Arc<State>);

struct OnDrop<'a>(&'a State);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl Spindle {
    fn act(&self, cx: &Context, block: &Block) -> Result<()> {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        match block.text.as_str() {
            "panic" => panic!("as asked"),
            "fail" => return Err(Status::failed_precondition("as asked")),
            "gate" => self.0.gate.wait(),
            "until cancelled" => {
                while !cx.is_cancelled() {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            "block on" => {
                let back = DiskClient::new(&cx.peer());
                let reply = Handle::current().block_on(back.seek(block_of("back")))?;
                assert_eq!(reply.text, "back");
            }
            _ => {}
        }
        Ok(())
    }
}

fn block_of(text: &str) -> Block {
    Block {
        text: text.to_owned(),
        parts: Vec::new(),
    }
}

impl Disk for Spindle {
    async fn read(&self, cx: Context, block: Block) -> Result<Block> {
        let _held = OnDrop(&self.0);
        self.act(&cx, &block)?;
        match block.text.as_str() {
            "wait" => std::future::pending().await,
            "sleep" => tokio::time::sleep(Duration::from_millis(1)).await,
            "call" => return DiskClient::new(&cx.peer()).seek(block_of("back")).await,
            "thread" => return Ok(block_of(thread::current().name().unwrap_or_default())),
            "metadata" => cx.set_reply_metadata("read", "yes")?,
            _ => {}
        }
        Ok(block)
    }

    async fn write(&self, cx: Context, mut blocks: Streaming<Block>) -> Result<Block> {
        let mut all = String::new();
        while let Some(block) = blocks.message().await? {
            self.act(&cx, &block)?;
            all += &block.text;
        }
        Ok(block_of(&all))
    }

    async fn list(&self, cx: Context, block: Block) -> Result<Streaming<Block>> {
        self.act(&cx, &block)?;
        Ok(Streaming::new(stream::iter([Ok(block)])))
    }

    async fn copy(&self, cx: Context, blocks: Streaming<Block>) -> Result<Streaming<Block>> {
        self.act(&cx, &Block::default())?;
        Ok(blocks)
    }

    async fn sync(&self, cx: Context, block: Block) {
        let _held = OnDrop(&self.0);
        let _ = self.act(&cx, &block);
    }

    async fn format(&self, cx: Context, block: Block) -> Result<Block> {
        let _held = OnDrop(&self.0);
        self.act(&cx, &block)?;
        if block.text == "until cancelled" {
            // A handler that is dropped while it waits would not get past this line.
            tokio::task::yield_now().await;
            self.0.gate.open();
        }
        Ok(block)
    }

    async fn seek(&self, cx: Context, block: Block) -> Result<Block> {
        let _held = OnDrop(&self.0);
        self.act(&cx, &block)?;
        Ok(block)
    }
}

async fn connect(server: Server) -> (Peer, tokio::task::JoinHandle<Result<(), wawo::ServeError>>) {
    let address = server.addresses()[0].to_string();
    let running = tokio::spawn(server.run());
    let peer = Peer::builder(address).add_service(DiskServer::new(Spindle::default()));
    (peer.connect().await.unwrap(), running)
}

/// A server of a spindle, over a socket or in memory, with the given number of workers.
async fn disk(address: &str, workers: usize) -> (DiskClient, Peer, Arc<State>) {
    let spindle = Spindle::default();
    let state = spindle.0.clone();
    let mut server = Server::builder().add_service(DiskServer::new(spindle));
    if workers > 0 {
        server = server.config(of_server(|config| config.workers(Some(workers))));
    }
    let (peer, _) = connect(server.bind(address).await.unwrap()).await;
    (DiskClient::new(&peer), peer, state)
}

/// Makes a call that blocks until another call has been answered.
async fn one_beside_another(disk: DiskClient, state: &State) {
    let blocking = tokio::spawn(disk.read(block_of("gate")).timeout(FOR_EVER));
    let other = disk.read(block_of("other")).timeout(FOR_EVER).await;
    assert_eq!(other.unwrap().text, "other");
    state.gate.open();
    assert_eq!(blocking.await.unwrap().unwrap().text, "gate");
}

#[test]
fn a_blocking_handler_holds_up_nothing_in_a_runtime_of_one_thread_and_at_a_worker() {
    for workers in [0, 1] {
        one_thread().block_on(async {
            let (disk, peer, state) = disk("tcp://127.0.0.1:0", workers).await;
            one_beside_another(disk, &state).await;
            let report = peer.drain(FOR_EVER).await;
            assert!(report.cut.is_empty(), "{report:?}");
        });
    }
}

#[test]
fn blocking_handlers_of_every_shape_work() {
    one_thread().block_on(async {
        let (disk, _peer, state) = disk("mem://blocking-shapes", 0).await;
        let blocks = || stream::iter(["a", "b", "c"].map(block_of));
        assert_eq!(disk.read(block_of("sleep")).await.unwrap().text, "sleep");
        assert_eq!(disk.write(blocks()).await.unwrap().text, "abc");
        assert_eq!(disk.list(block_of("a")).await.unwrap().count().await, 1);
        assert_eq!(disk.copy(blocks()).await.unwrap().count().await, 3);
        disk.sync(block_of("gate")).await.unwrap();
        assert_eq!(disk.read(block_of("on")).await.unwrap().text, "on");
        state.gate.open();
        let (_, metadata) = disk
            .read(block_of("metadata"))
            .with_metadata()
            .await
            .unwrap();
        assert_eq!(metadata.text("read"), Some("yes"));
    });
}

#[test]
fn a_blocking_handler_can_call_its_caller_and_block_on_that() {
    one_thread().block_on(async {
        let (disk, _peer, _) = disk("mem://blocking-calls", 0).await;
        for text in ["call", "block on"] {
            let reply = disk.read(block_of(text)).timeout(FOR_EVER).await;
            reply.unwrap_or_else(|status| panic!("{text}: {status}"));
        }
    });
}

#[test]
fn panics_and_statuses_of_blocking_handlers_are_as_of_others() {
    one_thread().block_on(async {
        let (disk, _peer, _) = disk("mem://blocking-panics", 0).await;
        let status = disk.read(block_of("panic")).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        let status = disk.read(block_of("fail")).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(disk.read(block_of("on")).await.unwrap().text, "on");
    });
}

#[test]
fn a_cancelled_blocking_handler_hears_of_it_and_is_dropped_when_it_waits() {
    one_thread().block_on(async {
        let (disk, _peer, state) = disk("mem://blocking-cancel", 0).await;
        for (text, number) in [("wait", 1), ("until cancelled", 2)] {
            let call = disk.read(block_of(text)).timeout(Duration::from_millis(50));
            let status = call.await.unwrap_err();
            assert_eq!(status.code(), Code::DeadlineExceeded);
            let state = state.clone();
            let dropped = move |state: &State| state.dropped.load(Ordering::SeqCst) == number;
            let until = tokio::task::spawn_blocking(move || state.until(dropped));
            until.await.unwrap();
        }
    });
}

#[test]
fn a_blocking_handler_that_runs_to_completion_does_so() {
    one_thread().block_on(async {
        let (disk, _peer, state) = disk("mem://blocking-complete", 0).await;
        let call = disk.format(block_of("until cancelled"));
        let status = call.timeout(Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        let end = state.clone();
        let ended = tokio::task::spawn_blocking(move || end.gate.wait());
        ended.await.unwrap();
        assert_eq!(state.begun.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_handler_for_which_no_thread_is_free_is_not_begun_when_its_call_is_over() {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        let (disk, _peer, state) = disk("mem://blocking-queue", 0).await;
        let first = tokio::spawn(disk.read(block_of("gate")).timeout(FOR_EVER));
        while state.begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let late = disk
            .read(block_of("late"))
            .timeout(Duration::from_millis(50));
        assert_eq!(late.await.unwrap_err().code(), Code::DeadlineExceeded);
        state.gate.open();
        first.await.unwrap().unwrap();
        disk.read(block_of("last")).await.unwrap();
        assert_eq!(state.begun.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn a_server_declares_a_method_or_a_service_as_blocking() {
    one_thread().block_on(async {
        let spindle = Spindle::default();
        let state = spindle.0.clone();
        let method = DiskServer::new(spindle.clone()).layer_method(&SEEK, BlockingLayer::new());
        let service = DiskServer::new(spindle).layer(BlockingLayer::new());
        let layered = [
            Server::builder()
                .add_service(method)
                .bind("mem://blocking-method")
                .await,
            Server::builder()
                .add_service(service)
                .bind("mem://blocking-service")
                .await,
        ];
        for server in layered {
            let (peer, _) = connect(server.unwrap()).await;
            let disk = DiskClient::new(&peer);
            let blocking = tokio::spawn(disk.seek(block_of("gate")).timeout(FOR_EVER));
            let other = disk.seek(block_of("other")).timeout(FOR_EVER).await;
            assert_eq!(other.unwrap().text, "other");
            state.gate.open();
            blocking.await.unwrap().unwrap();
        }
        assert!(READ.is_blocking() && !SEEK.is_blocking());
    });
}

#[test]
fn limits_count_blocking_handlers() {
    one_thread().block_on(async {
        let spindle = Spindle::default();
        let state = spindle.0.clone();
        let limit = InFlightLayer::new(1);
        let server = DiskServer::new(spindle).layer_method(&READ, limit);
        let server = Server::builder().add_service(server);
        let (peer, _) = connect(server.bind("mem://blocking-limit").await.unwrap()).await;
        let disk = DiskClient::new(&peer);
        let blocking = tokio::spawn(disk.read(block_of("gate")).timeout(FOR_EVER));
        disk.seek(block_of("it has come")).await.unwrap();
        let status = disk.read(block_of("one more")).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        state.gate.open();
        blocking.await.unwrap().unwrap();
    });
}

#[test]
fn a_drain_waits_for_a_blocking_handler_and_cuts_it_when_the_grace_is_over() {
    one_thread().block_on(async {
        let (disk, peer, state) = disk("mem://blocking-drain", 0).await;
        let call = tokio::spawn(disk.read(block_of("gate")).timeout(FOR_EVER));
        disk.seek(block_of("it has come")).await.unwrap();
        let report = peer.drain(Duration::from_millis(50)).await;
        assert_eq!(report.cut.len(), 1, "{report:?}");
        assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Unavailable);
        state.gate.open();
    });
}

#[test]
fn in_process_a_blocking_handler_needs_no_runtime_and_with_one_blocks_nobody() {
    let disk = DiskClient::new(&InProcess::new(DiskServer::new(Spindle::default())));
    assert_eq!(block_on(disk.read(block_of("a"))).unwrap().text, "a");
    one_thread().block_on(async {
        let spindle = Spindle::default();
        let state = spindle.0.clone();
        let disk = DiskClient::new(&InProcess::new(DiskServer::new(spindle)));
        one_beside_another(disk, &state).await;
    });
}

/// A message of the given number of bytes, made of the smallest elements.
fn tiny_elements(bytes: usize) -> Block {
    Block {
        text: "large".into(),
        parts: vec![Part::default(); bytes / 2],
    }
}

#[test]
fn large_messages_arrive_in_each_kind_of_runtime() {
    for runtime in [threads(2), one_thread()] {
        runtime.block_on(async {
            let (disk, _peer, _) = disk("tcp://127.0.0.1:0", 0).await;
            let large = tiny_elements(256 * 1024);
            let reply = disk.seek(large.clone()).await.unwrap();
            assert_eq!(reply.parts.len(), large.parts.len());
            let replies = disk
                .copy(stream::iter([large.clone(), large.clone()]))
                .await;
            let replies: Vec<_> = replies.unwrap().collect().await;
            assert!(
                replies
                    .iter()
                    .all(|reply| reply.as_ref().unwrap() == &large)
            );
            let mut wrong = large;
            wrong.text = "fail".into();
            let status = disk.seek(wrong).await.unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition);
        });
    }
}

/// Stops in the middle of decoding a large message until a call over another connection is
/// answered. If this thread were the only one awake, nobody would poll for that call.
#[test]
fn while_a_large_message_is_decoded_other_connections_are_heard() {
    let (bound, address) = mpsc::channel();
    thread::spawn(move || {
        threads(4).block_on(async {
            let server = Server::builder().add_service(slow::SlowServer);
            let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
            bound.send(server.addresses()[0].to_string()).unwrap();
            server.run().await
        })
    });
    let address = address.recv().unwrap();
    one_thread().block_on(async {
        let slow = Peer::connect(&*address).await.unwrap();
        let other = Peer::connect(address).await.unwrap();
        let large = DiskClient::new(&slow).seek(tiny_elements(128 * 1024));
        let large = tokio::spawn(large.timeout(FOR_EVER));
        let is_decoding = tokio::task::spawn_blocking(|| slow::STOPS[0].reached.wait());
        is_decoding.await.unwrap();
        let other = DiskClient::new(&other).seek(block_of("other"));
        let other = other.timeout(FOR_EVER / 2).await;
        slow::STOPS[0].go_on.open();
        assert_eq!(other.unwrap().text, "other");
        large.await.unwrap().unwrap();
    });
}

/// A server of one thread, and its count of decoded bytes for its only peer.
async fn disk_that_counts(server: ServerBuilder) -> (DiskClient, Peer, Counts) {
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let counts = Counts(server.handle());
    let (peer, _) = connect(server).await;
    (DiskClient::new(&peer), peer, counts)
}

struct Counts(wawo::ServerHandle);

impl Counts {
    async fn held(&self) -> usize {
        self.0.peers()[0].snapshot().await.decoded_bytes
    }

    async fn until(&self, bytes: usize) {
        while self.held().await != bytes {
            tokio::task::yield_now().await;
        }
    }

    /// Begins a call with a large request, and cancels it while its job, one of `jobs`, waits.
    async fn give_up<F>(&self, call: F, jobs: usize)
    where
        F: IntoFuture<IntoFuture: Send + 'static, Output: Send + 'static>,
    {
        let call = tokio::spawn(call.into_future());
        while self.held().await < jobs * JOB_BYTES + 100 * 1024 {
            tokio::task::yield_now().await;
        }
        call.abort();
        // The request is freed completely, and the job that tokio keeps still counts.
        self.until(jobs * JOB_BYTES).await;
    }
}

/// Blocks the only thread of the blocking pool until the gate opens.
async fn block_the_thread(state: &Arc<State>) -> tokio::task::JoinHandle<()> {
    let (blocked, at_gate) = (state.clone(), state.clone());
    let blocking = tokio::task::spawn_blocking(move || {
        blocked.begun.fetch_add(1, Ordering::SeqCst);
        blocked.gate.wait();
    });
    while at_gate.begun.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    blocking
}

/// The bytes that count for a job that waits for a thread after its call has ended.
const JOB_BYTES: usize = 1024;

#[test]
fn requests_that_wait_for_a_thread_are_dropped_with_their_calls_and_what_is_left_is_bounded() {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        const JOBS: usize = 250;
        let config = Config::builder()
            .max_connection_decoded_bytes(4 * 1024 * 1024)
            .max_decoded_bytes(4 * 1024 * 1024)
            .build();
        let config = of_server(|server| {
            let server = server.connection(config.unwrap());
            server.max_server_decoded_bytes(Some(4 * 1024 * 1024))
        });
        let spindle = Spindle::default();
        let state = spindle.0.clone();
        let server = Server::builder()
            .config(config)
            .add_service(DiskServer::new(spindle));
        let (disk, _peer, counts) = disk_that_counts(server).await;
        let blocking = block_the_thread(&state).await;
        let message = || block_of(&"x".repeat(100 * 1024));
        for jobs in (1..JOBS).step_by(2) {
            let call = disk.seek(message()).timeout(FOR_EVER);
            counts.give_up(call, jobs).await;
            let call = disk.read(message()).timeout(FOR_EVER);
            counts.give_up(call, jobs + 1).await;
        }
        state.gate.open();
        blocking.await.unwrap();
        counts.until(0).await;
        disk.read(message()).await.unwrap();
    });
}

#[test]
fn a_call_finds_no_thread_once_too_many_jobs_wait_for_one() {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        const JOBS: usize = 64;
        let config = Config::builder()
            .max_connection_decoded_bytes(JOBS * JOB_BYTES)
            .max_decoded_bytes(JOBS * JOB_BYTES)
            .build()
            .unwrap();
        let spindle = Spindle::default();
        let state = spindle.0.clone();
        let service = DiskServer::new(spindle);
        let server = Server::builder().config(config).add_service(service);
        let (disk, _peer, counts) = disk_that_counts(server).await;
        let blocking = block_the_thread(&state).await;
        for jobs in 1..=JOBS {
            let call = tokio::spawn(disk.read(block_of("late")).into_future());
            while counts.held().await < jobs * JOB_BYTES {
                tokio::task::yield_now().await;
            }
            call.abort();
        }
        let status = disk.read(block_of("one more")).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        let message = status.message();
        assert!(
            message.contains("max_connection_decoded_bytes"),
            "{message}"
        );
        state.gate.open();
        blocking.await.unwrap();
        counts.until(0).await;
        disk.read(block_of("last")).await.unwrap();
        assert_eq!(state.begun.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn a_message_counts_for_as_long_as_it_is_decoded_although_its_call_is_over() {
    one_thread().block_on(async {
        let server = Server::builder().add_service(slow::SlowServer);
        let (disk, _peer, counts) = disk_that_counts(server).await;
        let message = tiny_elements(slow::LARGER);
        let call = tokio::spawn(disk.seek(message).timeout(FOR_EVER).into_future());
        let is_decoding = tokio::task::spawn_blocking(|| slow::STOPS[1].reached.wait());
        is_decoding.await.unwrap();
        let held = counts.held().await;
        assert!(held > slow::LARGER + JOB_BYTES, "{held}");
        call.abort();
        // The decoded message counts together with its source bytes, of which nothing else knows
        // any more. The text is in it too, with two bytes before it.
        counts.until(held + slow::LARGER + "large".len() + 2).await;
        slow::STOPS[1].go_on.open();
        counts.until(0).await;
    });
}

/// A service as the generator writes it, with a codec that stops in the middle of large messages.
mod slow {
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use prost::Message;
    use tower::Service;
    use wawo::{
        BoxError, Codec, Request, Response, ResponseFuture, Result, Serve, Status, codegen,
    };
    use wawo_test_protos::tests::blocking::{
        Block,
        disk_service::{SERVICE, method::SEEK},
    };

    use super::Gate;

    /// A point at which the decoding of a large message stops.
    pub(crate) struct Stop {
        pub(crate) reached: Gate,
        pub(crate) go_on: Gate,
    }

    const fn stop() -> Stop {
        Stop {
            reached: Gate::new(),
            go_on: Gate::new(),
        }
    }

    /// One for messages above 64 KiB, and one for messages of [`LARGER`] bytes and more.
    pub(crate) static STOPS: [Stop; 2] = [stop(), stop()];

    pub(crate) const LARGER: usize = 256 * 1024;

    #[derive(Debug, Clone, Copy, Default)]
    struct SlowCodec;

    impl Codec<Block> for SlowCodec {
        fn encode(self, message: &Block) -> Bytes {
            message.encode_to_vec().into()
        }

        fn decode(self, bytes: Bytes) -> Result<Block, BoxError> {
            if bytes.len() > 64 * 1024 {
                let stop = &STOPS[usize::from(bytes.len() >= LARGER)];
                stop.reached.open();
                stop.go_on.wait();
            }
            Ok(Block::decode(bytes)?)
        }
    }

    #[derive(Debug, Clone)]
    pub(crate) struct SlowServer;

    impl Serve for SlowServer {
        fn descriptor(&self) -> &'static wawo::ServiceDescriptor {
            &SERVICE
        }
    }

    impl Service<Request> for SlowServer {
        type Response = Response;
        type Error = Status;
        type Future = ResponseFuture;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request) -> ResponseFuture {
            let echo = |_, block: Block| async move { Ok(block) };
            codegen::unary(&SEEK, SlowCodec, request, echo)
        }
    }
}
