//! The timeouts of calls of each shape, their sources, and the bounds of a stream without a
//! deadline. Time is paused, so tests that outlast a default or end at a bound only move the clock.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::{
    io::{DuplexStream, copy_bidirectional, duplex},
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};
use wawo::{
    Call, Code, Config, Context, Delivery, InProcess, Peer, Result, Server, Status, Streaming,
};

use wawo_test_protos::tests::times::{
    Answer, Question, Times, TimesClient, TimesServer, times_service::method,
};

const SECOND: Duration = Duration::from_secs(1);

/// The pause between items of a stream: longer than the default timeout of a call.
const PAUSE: Duration = Duration::from_secs(11);

/// The maximum delay of a call's end: the interval at which deadlines are checked, and the
/// resolution of the clock.
const LATE: Duration = Duration::from_millis(20);

/// Answers with the time that a call has; hangs if asked to.
#[derive(Debug, Clone)]
struct Clock {
    notes: mpsc::UnboundedSender<u64>,
}

fn millis(cx: &Context) -> Answer {
    let millis = cx.time_left().map_or(0, |left| left.as_millis() as u64);
    Answer { millis }
}

impl Clock {
    async fn answer(&self, cx: &Context, question: Question) -> Result<Answer> {
        let caller = TimesClient::new(&cx.peer());
        match question.text.as_str() {
            "hang" => std::future::pending().await,
            "ask back" => caller.wait(asked("")).await,
            "ask back for ever" => caller.wait(asked("")).no_timeout().await,
            "ask back detached" => caller.wait(asked("")).no_timeout().detached().await,
            _ => Ok(millis(cx)),
        }
    }

    /// The answer, followed by others forever, with pauses.
    async fn answers(&self, cx: Context, question: Question) -> Result<Streaming<Answer>> {
        let first = self
            .answer(
                &cx,
                Question {
                    text: String::new(),
                },
            )
            .await?;
        let clock = self.clone();
        let more = stream::unfold((clock, cx), move |(clock, cx)| {
            let question = question.clone();
            async move {
                sleep(PAUSE).await;
                let answer = clock.answer(&cx, question).await;
                Some((answer, (clock, cx)))
            }
        });
        Ok(Streaming::new(stream::iter([Ok(first)]).chain(more)))
    }
}

impl Times for Clock {
    async fn ask(&self, cx: Context, question: Question) -> Result<Answer> {
        self.answer(&cx, question).await
    }

    async fn wait(&self, cx: Context, question: Question) -> Result<Answer> {
        self.answer(&cx, question).await
    }

    async fn watch(&self, cx: Context, question: Question) -> Result<Streaming<Answer>> {
        self.answers(cx, question).await
    }

    async fn watch_briefly(&self, cx: Context, question: Question) -> Result<Streaming<Answer>> {
        self.answers(cx, question).await
    }

    async fn gather(&self, cx: Context, mut questions: Streaming<Question>) -> Result<Answer> {
        let before = millis(&cx);
        while questions.message().await?.is_some() {}
        Ok(before)
    }

    async fn talk(&self, cx: Context, questions: Streaming<Question>) -> Result<Streaming<Answer>> {
        let answers = questions.map(move |question| question.map(|_| millis(&cx)));
        Ok(Streaming::new(answers))
    }

    async fn note(&self, cx: Context, _: Question) {
        let _ = self.notes.send(millis(&cx).millis);
    }
}

fn asked(text: &str) -> Question {
    Question { text: text.into() }
}

/// A client and a server of the clock, over a link that can go silent.
struct World {
    server: Server,
    peer: Peer,
    times: TimesClient,
    notes: mpsc::UnboundedReceiver<u64>,
    silence: Option<oneshot::Sender<()>>,
}

async fn world_of(client: Config, server: Config) -> World {
    let (here, near) = duplex(64 * 1024);
    let (far, there) = duplex(64 * 1024);
    let (silence, silent) = oneshot::channel();
    tokio::spawn(link(near, far, silent));
    let (sender, notes) = mpsc::unbounded_channel();
    let clock = Clock { notes: sender };
    let mut server = Server::builder()
        .config(server)
        .add_service(TimesServer::new(clock.clone()))
        .build()
        .unwrap();
    let _ = server.accept_over(there).unwrap();
    let builder = Peer::builder("").config(client);
    let connecting = builder
        .add_service(TimesServer::new(clock))
        .connect_over(here);
    let peer = connecting.await.unwrap();
    World {
        server,
        times: TimesClient::new(&peer),
        peer,
        notes,
        silence: Some(silence),
    }
}

async fn world() -> World {
    world_of(Config::default(), Config::default()).await
}

/// Carries bytes both ways until it is told to go silent, and then holds both ends open.
async fn link(mut near: DuplexStream, mut far: DuplexStream, silent: oneshot::Receiver<()>) {
    let is_silent = tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => false,
        told = silent => told.is_ok(),
    };
    if is_silent {
        std::future::pending::<()>().await;
    }
}

/// Reads a stream to its end, or at most `most` items; returns the items and the end.
async fn read(replies: &mut Streaming<Answer>, most: usize) -> (Vec<u64>, Option<Status>) {
    let mut items = Vec::new();
    while items.len() < most {
        match replies.message().await {
            Ok(Some(answer)) => items.push(answer.millis),
            Ok(None) => return (items, None),
            Err(status) => return (items, Some(status)),
        }
    }
    (items, None)
}

/// `count` questions with pauses between them.
fn questions(count: usize) -> impl futures::Stream<Item = Question> + Send + 'static {
    stream::iter(0..count).then(|_| async {
        sleep(PAUSE).await;
        asked("")
    })
}

async fn streams_last(times: &TimesClient) {
    let begin = Instant::now();
    for call in [
        times.watch(asked("")),
        times.watch(asked("")).metadata("key", "value"),
    ] {
        let (items, end) = read(&mut call.await.unwrap(), 5).await;
        assert_eq!((items, end.is_none()), (vec![0; 5], true));
    }
    assert_eq!(times.gather(questions(4)).await.unwrap().millis, 0);
    let mut answers = times.talk(questions(4)).await.unwrap();
    let (items, end) = read(&mut answers, usize::MAX).await;
    assert_eq!((items, end.is_none()), (vec![0; 4], true));
    assert!(begin.elapsed() >= 16 * PAUSE);
}

#[tokio::test(start_paused = true)]
async fn streams_of_all_shapes_have_no_deadline() {
    streams_last(&world().await.times).await;
}

#[tokio::test(start_paused = true)]
async fn nor_do_they_in_the_same_process() {
    let (notes, _notes) = mpsc::unbounded_channel();
    let in_process = InProcess::new(TimesServer::new(Clock { notes }));
    let times = TimesClient::new(&in_process);
    streams_last(&times).await;
    times_of_calls(&times).await;
    let begin = Instant::now();
    let call = times.watch_briefly(asked(""));
    let (items, end) = read(&mut call.await.unwrap(), usize::MAX).await;
    assert_eq!((items.len(), begin.elapsed()), (2, 15 * SECOND));
    let text = "the stream was under way for 15.0s when its deadline passed \
                (option (wawo.method).timeout_ms)";
    assert_eq!(end.unwrap().message(), text);
    let status = times.wait(asked("hang")).await.unwrap_err();
    let text = "the deadline passed before the call was answered (default_timeout, 10s)";
    assert_eq!(status.message(), text);
}

async fn times_of_calls(times: &TimesClient) {
    let calls: [(&str, Call<Answer>, u64); 9] = [
        ("the default", times.wait(asked("")), 10_000),
        (
            "the default, with metadata",
            times.wait(asked("")).metadata("k", "v"),
            10_000,
        ),
        ("its own", times.wait(asked("")).timeout(3 * SECOND), 3_000),
        ("none", times.wait(asked("")).no_timeout(), 0),
        (
            "what was said last",
            times.wait(asked("")).timeout(SECOND).no_timeout(),
            0,
        ),
        (
            "and the reverse",
            times.wait(asked("")).no_timeout().timeout(SECOND),
            1_000,
        ),
        ("that of the schema", times.ask(asked("")), 30_000),
        (
            "its own before that of the schema",
            times.ask(asked("")).timeout(SECOND),
            1_000,
        ),
        (
            "none before that of the schema",
            times.ask(asked("")).no_timeout(),
            0,
        ),
    ];
    for (name, call, expected) in calls {
        assert_eq!(call.await.unwrap().millis, expected, "{name}");
    }
    for (call, expected) in [
        (times.watch_briefly(asked("")), 15_000),
        (times.watch_briefly(asked("")).no_timeout(), 0),
        (times.watch_briefly(asked("")).timeout(SECOND), 1_000),
        (times.watch(asked("")).timeout(SECOND), 1_000),
    ] {
        let (items, _) = read(&mut call.await.unwrap(), 1).await;
        assert_eq!(items, [expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_has_its_own_time_or_that_of_its_schema_or_the_default() {
    let mut world = world().await;
    times_of_calls(&world.times).await;
    for (call, expected) in [
        (world.times.note(asked("")), 700),
        (world.times.note(asked("")).timeout(SECOND), 1_000),
        (world.times.note(asked("")).no_timeout(), 0),
    ] {
        call.await.unwrap();
        assert_eq!(world.notes.recv().await, Some(expected));
    }
    assert_eq!(method::ASK.timeout(), Some(30 * SECOND));
    assert_eq!(method::WAIT.timeout(), None);
}

#[tokio::test(start_paused = true)]
async fn streams_have_the_default_that_is_set_for_them() {
    let config = Config::builder()
        .stream_timeout(Some(25 * SECOND))
        .build()
        .unwrap();
    let world = world_of(config, Config::default()).await;
    let begin = Instant::now();
    for call in [
        world.times.watch(asked("")),
        world.times.watch(asked("")).metadata("key", "value"),
    ] {
        let before = begin.elapsed();
        let (items, end) = read(&mut call.await.unwrap(), usize::MAX).await;
        assert_eq!((items[0], items.len()), (25_000, 3));
        let time = begin.elapsed() - before;
        assert!(
            (25 * SECOND..25 * SECOND + LATE).contains(&time),
            "{time:?}"
        );
        let status = end.unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        let text = "the stream was under way for 25.0s when its deadline passed";
        assert!(status.message().starts_with(text), "{status}");
    }
    assert_eq!(world.times.wait(asked("")).await.unwrap().millis, 10_000);
}

/// The callee may report the deadline first; the caller names the setting.
fn tells(status: &Status, text: &str, setting: &str) {
    assert_eq!(status.message(), format!("{text} ({setting})"));
}

#[tokio::test(start_paused = true)]
async fn a_status_tells_which_deadline_passed() {
    let world = world().await;
    let times = &world.times;
    let unanswered = "the deadline passed before the call was answered";
    let status = times.wait(asked("hang")).await.unwrap_err();
    tells(&status, unanswered, "default_timeout, 10s");
    let status = times.ask(asked("hang")).await.unwrap_err();
    tells(&status, unanswered, "option (wawo.method).timeout_ms");
    let call = times.watch(asked("")).timeout(12 * SECOND);
    let (_, end) = read(&mut call.await.unwrap(), usize::MAX).await;
    let under_way = "the stream was under way for 12.0s when its deadline passed";
    tells(&end.unwrap(), under_way, "timeout of the call");
    let call = times.watch_briefly(asked(""));
    let (_, end) = read(&mut call.await.unwrap(), usize::MAX).await;
    let under_way = "the stream was under way for 15.0s when its deadline passed";
    tells(&end.unwrap(), under_way, "option (wawo.method).timeout_ms");
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_handler_ends_no_later_than_the_handler() {
    let world = world().await;
    for (text, timeout, expected) in [
        ("ask back", 4, 4_000),
        // The call's own default is shorter.
        ("ask back", 60, 10_000),
        ("ask back for ever", 4, 4_000),
        ("ask back for ever", 60, 60_000),
        ("ask back detached", 4, 0),
    ] {
        let call = world.times.wait(asked(text)).timeout(timeout * SECOND);
        assert_eq!(
            call.await.unwrap().millis,
            expected,
            "{text} of {timeout} s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_time_of_a_call_bounds_streams_too() {
    let config = Config::builder()
        .max_timeout(Some(15 * SECOND))
        .build()
        .unwrap();
    let world = world_of(Config::default(), config).await;
    let begin = Instant::now();
    let mut replies = world.times.watch(asked("")).await.unwrap();
    let (items, end) = read(&mut replies, usize::MAX).await;
    assert!(begin.elapsed() < 15 * SECOND + LATE);
    assert_eq!((items[0], items.len()), (15_000, 2));
    let status = end.unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.delivery(), Delivery::Responded);
    assert_eq!(
        status.message(),
        "the stream was under way for 15.0s when its deadline passed (max_timeout of the callee, 15s)"
    );
}

/// Calls that a stream makes are not cut to the `max_timeout` of calls.
#[tokio::test(start_paused = true)]
async fn the_longest_time_of_a_stream_may_be_another() {
    let config = Config::builder()
        .max_timeout(Some(5 * SECOND))
        .max_stream_time(Some(36 * SECOND))
        .build()
        .unwrap();
    let world = world_of(Config::default(), config).await;
    let begin = Instant::now();
    let mut replies = world.times.watch(asked("ask back")).await.unwrap();
    let (items, end) = read(&mut replies, usize::MAX).await;
    assert!(begin.elapsed() < 36 * SECOND + LATE);
    assert_eq!(items, [36_000, 10_000, 10_000, 3_000]);
    assert_eq!(
        end.unwrap().message(),
        "the stream was under way for 36.0s when its deadline passed \
         (max_stream_time of the callee, 36s)"
    );
    let gathered = world.times.gather(questions(2)).await.unwrap();
    assert_eq!(gathered.millis, 36_000);
    let status = world
        .times
        .wait(asked("hang"))
        .no_timeout()
        .await
        .unwrap_err();
    assert_eq!(
        status.message(),
        "the deadline passed before the call was answered (max_timeout of the callee, 5s)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_peer_falls_silent() {
    let mut world = world().await;
    let mut watched = world.times.watch(asked("")).await.unwrap();
    read(&mut watched, 1).await;
    let gathering = tokio::spawn(IntoFuture::into_future(
        world.times.gather(Streaming::pending()),
    ));
    sleep(SECOND).await;
    let begin = Instant::now();
    world.silence.take().unwrap().send(()).unwrap();
    let (_, end) = read(&mut watched, usize::MAX).await;
    assert_eq!(end.unwrap().code(), Code::Unavailable);
    let status = gathering.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    // Keep-alive: 20 s of silence, and 10 s for the pong.
    assert!(begin.elapsed() < 31 * SECOND, "{:?}", begin.elapsed());
    drop(world.server);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_ends_after_the_stall_timeout() {
    let client = Config::builder()
        .initial_credit_bytes(64 * 1024)
        .build()
        .unwrap();
    let world = world_of(client, Config::default()).await;
    let large = stream::repeat_with(|| asked(&"x".repeat(1_000)));
    // The answers are small, and enough of them use up their credit.
    let mut unread = world.times.talk(large).await.unwrap();
    let begin = Instant::now();
    sleep(45 * SECOND).await;
    let mut answers = 0;
    let status = loop {
        match unread.message().await {
            Ok(Some(_)) => answers += 1,
            Ok(None) => panic!("it ended well"),
            Err(status) => break status,
        }
    };
    assert!(answers > 0 && begin.elapsed() < 46 * SECOND);
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("stall_timeout"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_streams_within_its_grace() {
    let world = world().await;
    let mut watched = world.times.watch(asked("")).await.unwrap();
    read(&mut watched, 1).await;
    let begin = Instant::now();
    let report = world.peer.drain(15 * SECOND).await;
    assert!(begin.elapsed() < 15 * SECOND + LATE);
    assert_eq!(report.cut.len(), 1, "{report:?}");
    let (items, end) = read(&mut watched, usize::MAX).await;
    assert_eq!((items.len(), end.unwrap().code()), (1, Code::Unavailable));
}
