//! A hundred thousand calls of all shapes and outcomes, in both directions at once over one
//! connection: each call ends once, with the right outcome, and then nothing is left.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, future::join_all, stream};
use tokio::{runtime::Handle, time::timeout};
use wawo::{Code, Context, Delivery, Peer, PeerSnapshot, Result, Server, Status, Streaming};

use crate::{
    mixed::{Cuttable, Knife},
    support::{Echo, EchoClient, EchoServer, Message, RepeatRequest, message},
};

/// The number of calls of both ends together. A debug build is slow and makes fewer; `.ci/run`
/// makes all.
const CALLS: usize = if cfg!(debug_assertions) {
    10_000
} else {
    100_000
};

/// The number of callers at each end; each makes one call after the other.
const CALLERS: usize = 100;

/// The outcome that a call asks for, and the behaviour of its caller.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Reply,
    ReplyLater,
    Fail,
    Panic,
    PanicLater,
    /// The handler never replies, and the deadline passes.
    Expire,
    /// The handler never replies, and the caller cancels.
    GiveUp,
    Note,
    /// A stream of replies, read to its end.
    Repeat,
    /// Read slowly, with more items than credit allows at once.
    RepeatSlowly,
    /// Dropped before its end.
    RepeatDropped,
    RepeatFails,
    RepeatPanics,
    /// A stream of requests, read to its end.
    Join,
    /// Answered before the stream has ended.
    JoinEarly,
    /// A stream in each direction.
    Talk,
    /// A stream in each direction; the caller drops both before their ends.
    TalkDropped,
}

const KINDS: [Kind; 17] = [
    Kind::Reply,
    Kind::ReplyLater,
    Kind::Fail,
    Kind::Panic,
    Kind::PanicLater,
    Kind::Expire,
    Kind::GiveUp,
    Kind::Note,
    Kind::Repeat,
    Kind::RepeatSlowly,
    Kind::RepeatDropped,
    Kind::RepeatFails,
    Kind::RepeatPanics,
    Kind::Join,
    Kind::JoinEarly,
    Kind::Talk,
    Kind::TalkDropped,
];

fn kind(call: usize) -> Kind {
    // A multiplicative hash mixes the kinds.
    let spread = (call as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    KINDS[spread as usize % KINDS.len()]
}

/// The number of messages of a stream.
const ITEMS: usize = 20;

/// The message of a call at an index of its stream: it differs from all messages of other calls.
fn item(call: usize, place: usize) -> Message {
    let length = match kind(call) {
        Kind::RepeatSlowly => 20_000,
        _ => 40,
    };
    // Filled at once: byte by byte, a debug build would spend most of its time here.
    let mut data = vec![(call + place) as u8; 16 + length];
    data[..8].copy_from_slice(&(call as u64).to_be_bytes());
    data[8..16].copy_from_slice(&(place as u64).to_be_bytes());
    message(data)
}

fn call_of(message: &Message) -> usize {
    u64::from_be_bytes(message.data[..8].try_into().unwrap()) as usize
}

/// Panics without the panic hook, which would print thousands of backtraces.
fn panic() -> ! {
    resume_unwind(Box::new("as asked"))
}

/// Counts the runs of each call's handler.
#[derive(Clone)]
struct Actor(Arc<Vec<AtomicU32>>);

impl Actor {
    fn new() -> Self {
        Self(Arc::new((0..CALLS).map(|_| AtomicU32::new(0)).collect()))
    }

    fn begins(&self, message: &Message) -> usize {
        let call = call_of(message);
        self.0[call].fetch_add(1, Ordering::SeqCst);
        call
    }

    fn runs(&self, call: usize) -> u32 {
        self.0[call].load(Ordering::SeqCst)
    }
}

impl Echo for Actor {
    async fn say(&self, _cx: Context, request: Message) -> Result<Message> {
        match kind(self.begins(&request)) {
            Kind::Fail => return Err(Status::failed_precondition("as asked")),
            Kind::Panic => panic(),
            Kind::PanicLater => {
                tokio::task::yield_now().await;
                panic()
            }
            Kind::ReplyLater => tokio::task::yield_now().await,
            Kind::Expire | Kind::GiveUp => std::future::pending().await,
            _ => {}
        }
        Ok(request)
    }

    async fn note(&self, _cx: Context, note: Message) {
        self.begins(&note);
    }

    async fn repeat(&self, _cx: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let call = self.begins(&Message { data: request.data });
        let many = match kind(call) {
            Kind::RepeatDropped => usize::MAX,
            _ => ITEMS,
        };
        let items = (0..many).map(move |place| match kind(call) {
            Kind::RepeatFails if place == 5 => Err(Status::aborted("as asked")),
            Kind::RepeatPanics if place == 5 => panic(),
            _ => Ok(item(call, place)),
        });
        Ok(Streaming::new(stream::iter(items)))
    }

    async fn join(&self, _cx: Context, mut requests: Streaming<Message>) -> Result<Message> {
        let first = requests.message().await?;
        let call = self.begins(first.as_ref().expect("a call sends its number"));
        let mut place = 1;
        while kind(call) == Kind::Join
            && let Some(request) = requests.message().await?
        {
            assert_eq!(request, item(call, place));
            place += 1;
        }
        Ok(item(call, place))
    }

    async fn talk(
        &self,
        _cx: Context,
        mut requests: Streaming<Message>,
    ) -> Result<Streaming<Message>> {
        let first = requests.message().await?.expect("a call sends its number");
        self.begins(&first);
        Ok(Streaming::new(stream::iter([Ok(first)]).chain(requests)))
    }

    async fn act(&self, _cx: Context, _: Message) -> Result<Message> {
        Err(Status::unimplemented(""))
    }
}

/// Makes a call of its kind. `Ok` if it has the right outcome.
async fn make(echo: &EchoClient, call: usize) -> Result<()> {
    let first = item(call, 0);
    match kind(call) {
        Kind::Note => return echo.note(first).await,
        Kind::Expire => {
            let said = echo.say(first).timeout(Duration::from_millis(20)).await;
            return expect(said, Code::DeadlineExceeded);
        }
        Kind::GiveUp => {
            let said = echo.say(first);
            let in_time = timeout(Duration::from_millis(5), said).await;
            return in_time.map_or(Ok(()), |ended| expect(ended, Code::Cancelled));
        }
        Kind::Fail => return expect(echo.say(first).await, Code::FailedPrecondition),
        Kind::Panic | Kind::PanicLater => return expect(echo.say(first).await, Code::Internal),
        Kind::Reply | Kind::ReplyLater => {
            assert_eq!(echo.say(first.clone()).await?, first);
            return Ok(());
        }
        Kind::Join | Kind::JoinEarly => {
            let requests = (0..ITEMS).map(move |place| item(call, place));
            let reply = echo.join(stream::iter(requests)).await?;
            let places = if kind(call) == Kind::Join { ITEMS } else { 1 };
            assert_eq!(reply, item(call, places));
            return Ok(());
        }
        _ => {}
    }
    let replies = match kind(call) {
        Kind::Talk => {
            let requests = (0..ITEMS).map(move |place| item(call, place));
            echo.talk(stream::iter(requests)).await?
        }
        Kind::TalkDropped => {
            let requests = (0..usize::MAX).map(move |place| item(call, place));
            echo.talk(stream::iter(requests)).await?
        }
        _ => {
            let (data, times) = (first.data, 0);
            echo.repeat(RepeatRequest { data, times }).await?
        }
    };
    read(call, replies).await
}

/// Reads a stream as the kind of its call requires.
async fn read(call: usize, mut replies: Streaming<Message>) -> Result<()> {
    for place in 0..ITEMS {
        match kind(call) {
            Kind::RepeatDropped | Kind::TalkDropped if place == 3 => return Ok(()),
            Kind::RepeatFails if place == 5 => {
                return expect(replies.message().await, Code::Aborted);
            }
            Kind::RepeatPanics if place == 5 => {
                return expect(replies.message().await, Code::Internal);
            }
            Kind::RepeatSlowly => tokio::task::yield_now().await,
            _ => {}
        }
        assert_eq!(replies.message().await?, Some(item(call, place)));
    }
    assert_eq!(replies.message().await?, None);
    Ok(())
}

fn expect<T: std::fmt::Debug>(result: Result<T>, code: Code) -> Result<()> {
    match result {
        Err(status) if status.code() == code => Ok(()),
        Err(status) => Err(status),
        Ok(reply) => panic!("{reply:?} where {code} was expected"),
    }
}

/// Makes calls one after the other and checks each; calls past `cut_at` may be cut.
async fn caller(echo: EchoClient, calls: Vec<usize>, actor: Actor, knife: Arc<Knife>, cut_at: u64) {
    for call in calls {
        let kind = kind(call);
        let outcome = make(&echo, call).await;
        knife.call_ended(cut_at);
        let runs = actor.runs(call);
        match outcome {
            Ok(()) if kind == Kind::Note || kind == Kind::GiveUp => assert!(runs <= 1),
            Ok(()) if kind == Kind::Expire => assert!(runs <= 1),
            Ok(()) => assert_eq!(runs, 1, "{call} {kind:?}"),
            Err(status) => {
                assert!(knife.is_cut(), "{call} {kind:?}: {status}");
                assert_eq!(
                    status.code(),
                    Code::Unavailable,
                    "{call} {kind:?}: {status}"
                );
                match status.delivery() {
                    Delivery::NotSent => assert_eq!(runs, 0, "{call} {kind:?}: {status}"),
                    _ => assert!(runs <= 1, "{call} {kind:?}"),
                }
            }
        }
    }
}

/// Makes all calls over one connection, which is cut after `cut_at` ended calls; then checks that
/// nothing is left.
async fn storm(calls: usize, cut_at: u64) {
    let tasks_before = Handle::current().metrics().num_alive_tasks();
    let (actor, knife) = (Actor::new(), Arc::new(Knife::default()));
    let (here, there) = tokio::io::duplex(64 * 1024);
    let server = Server::builder().add_service(EchoServer::new(actor.clone()));
    let mut server = server.build().unwrap();
    let to_client = server.accept_over(there).unwrap();
    let transport = Cuttable {
        transport: here,
        knife: knife.clone(),
    };
    let peer = Peer::builder("").add_service(EchoServer::new(actor.clone()));
    let to_server = peer.connect_over(transport).await.unwrap();
    let callers = (0..2 * CALLERS).map(|caller_index| {
        let peer = [&to_server, &to_client][caller_index % 2];
        let own = (caller_index..calls).step_by(2 * CALLERS).collect();
        let (actor, knife) = (actor.clone(), knife.clone());
        tokio::spawn(caller(EchoClient::new(peer), own, actor, knife, cut_at))
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
    for peer in [&to_server, &to_client] {
        nothing_is_left(peer).await;
    }
    drop((to_server, to_client, server));
    no_task_is_left(tasks_before).await;
}

async fn nothing_is_left(peer: &Peer) {
    let begin = Instant::now();
    let mut snapshot = peer.snapshot().await;
    while snapshot != PeerSnapshot::default() {
        assert!(begin.elapsed() < PATIENCE, "{snapshot:?} is left");
        tokio::task::yield_now().await;
        snapshot = peer.snapshot().await;
    }
}

/// Aborted tasks are gone when a worker has handled the abort.
async fn no_task_is_left(before: usize) {
    let begin = Instant::now();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    while tasks() > before {
        assert!(begin.elapsed() < PATIENCE, "{} tasks are left", tasks());
        tokio::task::yield_now().await;
    }
}

/// The maximum time for ended tasks to disappear.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_calls_of_all_shapes_end_once_and_leave_nothing() {
    storm(CALLS, u64::MAX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_all_shapes_over_connections_that_are_cut_end_once_and_leave_nothing() {
    for round in 1..=20 {
        storm(2_000, 90 * round).await;
    }
}
