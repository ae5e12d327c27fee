//! Ten thousand calls of all outcomes, in both directions at once, over connections that are cut:
//! each call ends once, with the right outcome.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{self, Poll},
    time::Duration,
};

use futures::{future::join_all, task::AtomicWaker};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use wawo::{Code, Context, Delivery, Peer, Result, Server, Status, Streaming, Transport};

use crate::support::{Echo, EchoClient, EchoServer, Message, RepeatRequest, message};

/// The number of calls that each end makes over one connection.
const CALLS: u64 = 1000;

/// The number of connections, one after the other; all but the last are cut.
const ROUNDS: u64 = 5;

/// The outcome that a call asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ask {
    Reply,
    ReplyLater,
    Fail,
    Panic,
    PanicLater,
    Never,
    Note,
}

const ASKS: [Ask; 7] = [
    Ask::Reply,
    Ask::ReplyLater,
    Ask::Fail,
    Ask::Panic,
    Ask::PanicLater,
    Ask::Never,
    Ask::Note,
];

/// Counts the runs of each call's handler.
#[derive(Default, Clone)]
struct Recorder(Arc<Mutex<HashMap<u64, u32>>>);

impl Recorder {
    fn ran(&self, call: u64) {
        *self.0.lock().unwrap().entry(call).or_default() += 1;
    }

    fn runs(&self, call: u64) -> u32 {
        self.0.lock().unwrap().get(&call).copied().unwrap_or(0)
    }
}

fn ask(call: u64) -> Ask {
    // A multiplicative hash mixes the kinds.
    let spread = call.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    ASKS[spread as usize % ASKS.len()]
}

fn number(message: &Message) -> u64 {
    u64::from_be_bytes(message.data[..8].try_into().unwrap())
}

impl Echo for Recorder {
    async fn say(&self, _cx: Context, message: Message) -> Result<Message> {
        let call = number(&message);
        self.ran(call);
        match ask(call) {
            Ask::Fail => return Err(Status::failed_precondition("as asked")),
            Ask::Panic => panic!("as asked"),
            Ask::PanicLater => {
                tokio::task::yield_now().await;
                panic!("as asked")
            }
            Ask::ReplyLater => tokio::task::yield_now().await,
            Ask::Never => std::future::pending().await,
            Ask::Reply | Ask::Note => {}
        }
        Ok(message)
    }

    async fn note(&self, _cx: Context, message: Message) {
        self.ran(number(&message));
    }

    async fn act(&self, _cx: Context, _: Message) -> Result<Message> {
        Err(Status::unimplemented(""))
    }

    async fn repeat(&self, _cx: Context, _: RepeatRequest) -> Result<Streaming<Message>> {
        Err(Status::unimplemented(""))
    }

    async fn join(&self, _cx: Context, _: Streaming<Message>) -> Result<Message> {
        Err(Status::unimplemented(""))
    }

    async fn talk(&self, _cx: Context, _: Streaming<Message>) -> Result<Streaming<Message>> {
        Err(Status::unimplemented(""))
    }
}

/// A transport that can be cut at any byte.
pub(crate) struct Cuttable<T> {
    pub(crate) transport: T,
    pub(crate) knife: Arc<Knife>,
}

#[derive(Default)]
pub(crate) struct Knife {
    is_cut: AtomicBool,
    reader: AtomicWaker,
    /// The number of ended calls; at a given count, the connection is cut.
    ended: AtomicU64,
}

impl Knife {
    /// Whether the connection was cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }

    pub(crate) fn call_ended(&self, cut_at: u64) {
        if self.ended.fetch_add(1, Ordering::SeqCst) + 1 == cut_at {
            self.is_cut.store(true, Ordering::SeqCst);
            self.reader.wake();
        }
    }

    fn check(&self) -> io::Result<()> {
        match self.is_cut() {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }
}

impl<T: Transport> AsyncRead for Cuttable<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.knife.reader.register(cx.waker());
        self.knife.check()?;
        Pin::new(&mut self.transport).poll_read(cx, buffer)
    }
}

impl<T: Transport> AsyncWrite for Cuttable<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.knife.check()?;
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.knife.check()?;
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

/// Makes one call and checks its outcome; `is_cut` allows for calls that a cut ends.
async fn make_call(echo: EchoClient, call: u64, ran: Recorder, knife: Arc<Knife>, cut_at: u64) {
    let sent = message([&call.to_be_bytes()[..], &[7; 24]].concat());
    let kind = ask(call);
    let outcome = match kind {
        Ask::Note => echo.note(sent.clone()).await.map(|()| sent.clone()),
        Ask::Never => {
            echo.say(sent.clone())
                .timeout(Duration::from_millis(20))
                .await
        }
        _ => echo.say(sent.clone()).await,
    };
    knife.call_ended(cut_at);
    let is_cut = knife.is_cut();
    match (kind, &outcome) {
        (Ask::Reply | Ask::ReplyLater | Ask::Note, Ok(reply)) => assert_eq!(*reply, sent),
        (_, Ok(_)) => panic!("{call} {kind:?} must not succeed"),
        (_, Err(status)) => {
            let expected = match kind {
                Ask::Fail => Some(Code::FailedPrecondition),
                Ask::Panic | Ask::PanicLater => Some(Code::Internal),
                Ask::Never => Some(Code::DeadlineExceeded),
                _ => None,
            };
            let right = Some(status.code()) == expected;
            let cut = is_cut && status.code() == Code::Unavailable;
            assert!(right || cut, "{call} {kind:?}: {status}");
        }
    }
    let runs = ran.runs(call);
    match outcome.err().map(|status| status.delivery()) {
        None if kind == Ask::Note => assert!(runs <= 1),
        None | Some(Delivery::Responded) => assert_eq!(runs, 1, "{call} {kind:?}"),
        Some(Delivery::Unknown) => assert!(runs <= 1, "{call} {kind:?}"),
        Some(Delivery::NotSent) => assert_eq!(runs, 0, "{call} {kind:?}"),
    }
}

/// Makes all calls of a round, from both ends at once, over one connection.
async fn round(round: u64, here: impl Transport, there: impl Transport) {
    let knife = Arc::new(Knife::default());
    let ran = Recorder::default();
    let mut server = Server::builder()
        .add_service(EchoServer::new(ran.clone()))
        .build()
        .unwrap();
    let to_client = server.accept_over(there).unwrap();
    let transport = Cuttable {
        transport: here,
        knife: knife.clone(),
    };
    let to_server = Peer::builder("")
        .add_service(EchoServer::new(ran.clone()))
        .connect_over(transport)
        .await
        .unwrap();
    let cut_at = match round {
        last if last == ROUNDS - 1 => u64::MAX,
        round => CALLS / 3 * (round + 1),
    };
    let calls = (0..2 * CALLS).map(|call| {
        let peer = if call % 2 == 0 {
            &to_server
        } else {
            &to_client
        };
        let echo = EchoClient::new(peer);
        tokio::spawn(make_call(echo, call, ran.clone(), knife.clone(), cut_at))
    });
    for call in join_all(calls).await {
        call.unwrap();
    }
    assert_eq!(knife.ended.load(Ordering::SeqCst), 2 * CALLS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_mixed_calls_over_tcp_each_end_once_and_right() {
    for number in 0..ROUNDS {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (here, there) = tokio::join!(TcpStream::connect(address), listener.accept());
        round(number, here.unwrap(), there.unwrap().0).await;
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_mixed_calls_over_a_unix_socket_each_end_once_and_right() {
    for number in 0..ROUNDS {
        let (here, there) = tokio::net::UnixStream::pair().unwrap();
        round(number, here, there).await;
    }
}

#[cfg(windows)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_mixed_calls_over_a_named_pipe_each_end_once_and_right() {
    use tokio::net::windows::named_pipe::{ClientOptions, ServerOptions};

    let path = format!(r"\\.\pipe\wawo-mixed-{}", std::process::id());
    for number in 0..ROUNDS {
        let there = ServerOptions::new().create(&path).unwrap();
        let here = ClientOptions::new().open(&path).unwrap();
        there.connect().await.unwrap();
        round(number, here, there).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_mixed_calls_over_memory_each_end_once_and_right() {
    for number in 0..ROUNDS {
        let (here, there) = tokio::io::duplex(64 * 1024);
        round(number, here, there).await;
    }
}
