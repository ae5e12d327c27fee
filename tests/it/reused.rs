//! Call ids are used again at once. In each test something comes late for a call that is over, when the
//! next call has its id already; the next call must not be touched.

use std::{
    future::IntoFuture,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt, channel::mpsc, poll, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    sync::{Notify, Semaphore},
    task::yield_now,
    time::timeout,
};
use wawo::{Context, Peer, Result, Server, Streaming};

use crate::{
    real_time::{FOR_EVER, Gate, ends, one_thread, threads},
    support::{Echo, EchoClient, EchoServer, Message, RepeatRequest, message},
};

/// The state that the handlers of a test share with it.
#[derive(Default)]
struct State {
    /// Has a permit for each handler that has begun.
    begun: Count,
    /// Each handler takes a permit before it answers.
    release: Count,
    /// Handlers of "block" stop their thread until it is open.
    gate: Gate,
    /// Told when the answer of "block" has been let go.
    let_go: Arc<Notify>,
    /// The requests that a handler keeps beyond its end.
    kept: Mutex<Option<Streaming<Message>>>,
}

/// Counts up and down, and waits at zero.
struct Count(Semaphore);

impl Default for Count {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Count {
    fn up(&self) {
        self.0.add_permits(1);
    }

    async fn down(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

#[derive(Clone, Default)]
struct Handlers(Arc<State>);

impl Echo for Handlers {
    async fn say(&self, _cx: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn act(&self, _cx: Context, request: Message) -> Result<Message> {
        if request.data == "block" {
            return Ok(self.0.block().await);
        }
        self.0.begun.up();
        self.0.release.down().await;
        Ok(request)
    }

    async fn note(&self, _cx: Context, _: Message) {}

    async fn repeat(&self, _cx: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let state = self.0.clone();
        let items = stream::repeat(request.data).take(request.times as usize);
        let items = items.then(move |data| {
            let state = state.clone();
            async move {
                state.begun.up();
                state.release.down().await;
                Ok(message(data))
            }
        });
        Ok(Streaming::new(items))
    }

    /// The first request says whether to keep the others or to join them.
    async fn join(&self, _cx: Context, mut requests: Streaming<Message>) -> Result<Message> {
        let first = requests.message().await?.unwrap_or_default();
        self.0.begun.up();
        if first.data == "keep" {
            self.0.release.down().await;
            *self.0.kept.lock().unwrap() = Some(requests);
            return Ok(message("kept"));
        }
        let mut all = first.data.to_vec();
        while let Some(message) = requests.message().await? {
            all.extend_from_slice(&message.data);
        }
        Ok(message(all))
    }

    async fn talk(&self, _cx: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        self.0.begun.up();
        Ok(requests)
    }
}

impl State {
    /// Cannot be stopped once it has begun.
    async fn block(&self) -> Message {
        // From here on it is a task of its own.
        yield_now().await;
        self.begun.up();
        self.gate.wait();
        message(Bytes::from_owner(LetGo(
            vec![0; LINKED_BYTES],
            self.let_go.clone(),
        )))
    }
}

/// A message of this length is not copied on its way to the transport, so that its bytes are let go only
/// when the driver has written them, or refused them.
const LINKED_BYTES: usize = 64 * 1024;

/// Bytes that tell when nobody has them any more.
struct LetGo(Vec<u8>, Arc<Notify>);

impl AsRef<[u8]> for LetGo {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for LetGo {
    fn drop(&mut self) {
        self.1.notify_one();
    }
}

/// A transport that keeps what comes while it is shut, and tells that something has come.
struct Shutter {
    inner: DuplexStream,
    shutter: Arc<ShutterState>,
}

#[derive(Default)]
struct ShutterState {
    kept: Mutex<Kept>,
    has_come: Notify,
}

#[derive(Default)]
struct Kept {
    is_shut: bool,
    bytes: Vec<u8>,
    reader: Option<Waker>,
}

impl ShutterState {
    fn shut(&self) {
        self.kept.lock().unwrap().is_shut = true;
    }

    fn open(&self) {
        let mut kept = self.kept.lock().unwrap();
        kept.is_shut = false;
        kept.reader.take().unwrap().wake();
    }
}

impl AsyncRead for Shutter {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let shutter = self.shutter.clone();
        let mut kept = shutter.kept.lock().unwrap();
        if !kept.is_shut {
            if kept.bytes.is_empty() {
                return Pin::new(&mut self.inner).poll_read(cx, buf);
            }
            // Much less than any reader has room for.
            buf.put_slice(&std::mem::take(&mut kept.bytes));
            return Poll::Ready(Ok(()));
        }
        kept.reader = Some(cx.waker().clone());
        let mut room = [0; 4 * 1024];
        loop {
            let mut read = ReadBuf::new(&mut room);
            match Pin::new(&mut self.inner).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    kept.bytes.extend_from_slice(read.filled());
                    shutter.has_come.notify_one();
                }
                other => return other,
            }
        }
    }
}

impl AsyncWrite for Shutter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A server, and a client that reads through a shutter.
struct World {
    _server: Server,
    echo: EchoClient,
    state: Arc<State>,
    shutter: Arc<ShutterState>,
}

impl World {
    async fn new() -> Self {
        let (here, there) = duplex(64 * 1024);
        let handlers = Handlers::default();
        let state = handlers.0.clone();
        let server = Server::builder().add_service(EchoServer::new(handlers));
        let mut server = server.build().unwrap();
        let _ = server.accept_over(there).unwrap();
        let shutter = Arc::new(ShutterState::default());
        let here = Shutter {
            inner: here,
            shutter: shutter.clone(),
        };
        let peer = Peer::builder("").connect_over(here).await.unwrap();
        Self {
            _server: server,
            echo: EchoClient::new(&peer),
            state,
            shutter,
        }
    }

    /// A handler answers; the end of its call has come, and the driver of the client has not read it.
    async fn release_unread(&self) {
        self.shutter.shut();
        self.state.release.up();
        self.shutter.has_come.notified().await;
    }
}

async fn soon<T>(ends: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(1), ends).await.expect("soon")
}

#[test]
fn the_late_answer_of_a_handler_that_cannot_be_stopped_is_not_taken_for_that_of_the_next_call() {
    ends(|| {
        let (server, client) = (threads(3), one_thread());
        let world = server.block_on(World::new());
        client.block_on(async {
            let (echo, state) = (&world.echo, &world.state);
            let mut blocked = Box::pin(echo.act(message("block")).into_future());
            assert!(poll!(&mut blocked).is_pending());
            state.begun.down().await;
            drop(blocked);
            // Its reply comes behind the end of the call that was dropped.
            echo.say(message("")).await.unwrap();
            // Two ids are free: one of these calls has that of the call that was dropped.
            let calls =
                ["one", "two"].map(|name| tokio::spawn(echo.act(message(name)).into_future()));
            state.begun.down().await;
            state.begun.down().await;
            state.gate.open();
            state.let_go.notified().await;
            state.release.up();
            state.release.up();
            for (call, name) in calls.into_iter().zip(["one", "two"]) {
                let reply = timeout(FOR_EVER, call).await.unwrap().unwrap();
                assert_eq!(reply.unwrap().data, name);
            }
        });
    });
}

#[tokio::test(start_paused = true)]
async fn a_late_cancel_of_a_call_is_not_taken_for_one_of_the_next_call() {
    let world = World::new().await;
    let mut first = Box::pin(world.echo.act(message("first")).into_future());
    assert!(poll!(&mut first).is_pending());
    world.state.begun.down().await;
    world.release_unread().await;
    // The driver reads the end of the first call, then starts the second one, with the same id, and
    // then hears that nobody waits for the first.
    let mut second = Box::pin(world.echo.act(message("second")).into_future());
    assert!(poll!(&mut second).is_pending());
    drop(first);
    world.shutter.open();
    soon(world.state.begun.down()).await;
    world.state.release.up();
    assert_eq!(soon(second).await.unwrap().data, "second");
}

#[tokio::test(start_paused = true)]
async fn a_late_message_of_a_stream_does_not_go_into_that_of_the_next_call() {
    let world = World::new().await;
    let (mut sender, requests) = mpsc::channel(4);
    let mut first = Box::pin(world.echo.join(requests).into_future());
    assert!(poll!(&mut first).is_pending());
    sender.send(message("keep")).await.unwrap();
    soon(world.state.begun.down()).await;
    world.release_unread().await;
    // The task that carries the requests of the first call comes before the driver, which reads the end
    // of that call, starts the second one, with the same id, and then hears of the message.
    sender.send(message("late")).await.unwrap();
    let own = stream::iter([message("its "), message("own")]);
    let mut second = Box::pin(world.echo.join(own).into_future());
    assert!(poll!(&mut second).is_pending());
    world.shutter.open();
    assert_eq!(soon(first).await.unwrap().data, "kept");
    assert_eq!(soon(second).await.unwrap().data, "its own");
}

#[tokio::test(start_paused = true)]
async fn replies_that_are_let_go_after_their_end_do_not_cancel_the_next_call() {
    let world = World::new().await;
    let repeat = |data: &'static str| {
        let data = data.into();
        world.echo.repeat(RepeatRequest { data, times: 1 })
    };
    let first = repeat("first").await.unwrap();
    soon(world.state.begun.down()).await;
    world.state.release.up();
    // Its reply to this comes behind all that the first call has sent, and nobody has read.
    world.echo.say(message("")).await.unwrap();
    let [mut second, mut third] =
        [repeat("second").await, repeat("third").await].map(Result::unwrap);
    drop(first);
    world.state.release.up();
    world.state.release.up();
    for (replies, data) in [(&mut second, "second"), (&mut third, "third")] {
        let reply = soon(replies.message()).await.unwrap();
        assert_eq!(reply.unwrap().data, data);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_a_handler_lets_go_after_its_end_are_not_those_of_the_next_call() {
    let world = World::new().await;
    let requests = stream::iter(["keep", "unread"].map(message));
    let mut first = Box::pin(world.echo.join(requests).into_future());
    assert!(poll!(&mut first).is_pending());
    soon(world.state.begun.down()).await;
    world.state.release.up();
    assert_eq!(soon(first).await.unwrap().data, "kept");
    let (mut sender, requests) = mpsc::channel(4);
    let mut second = Box::pin(world.echo.join(requests).into_future());
    assert!(poll!(&mut second).is_pending());
    sender.send(message("its ")).await.unwrap();
    soon(world.state.begun.down()).await;
    drop(world.state.kept.lock().unwrap().take());
    sender.send(message("own")).await.unwrap();
    drop(sender);
    assert_eq!(soon(second).await.unwrap().data, "its own");
}
