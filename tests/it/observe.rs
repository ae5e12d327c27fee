//! Observers get one end for each call, with the same code on both sides, however it ends and whatever
//! carries it. Time is paused.

use std::{fmt, time::Duration};

use futures::stream;
use tokio::sync::mpsc;
use wawo::{
    Code, Config, ConfigBuilder, CustomProtocol, InProcess, Metrics, Peer, Server,
    observe::{CallSide, CallSummary, Observe, ObservedCall},
};

use crate::{
    custom_protocol::plain::Plain,
    logged::Log,
    support::{EchoClient, EchoServer, Parrot, RepeatRequest, Seen, message},
};

/// The end of a call, as an observer saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) side: CallSide,
    pub(crate) path: String,
    pub(crate) code: Code,
    /// The number of messages of the requests, and of the replies.
    pub(crate) messages: (u64, u64),
    /// The bytes of the same.
    pub(crate) bytes: (u64, u64),
    pub(crate) took: Duration,
    pub(crate) first_reply: Option<Duration>,
}

/// An observer that keeps all ends.
#[derive(Clone)]
pub(crate) struct Recorder(mpsc::UnboundedSender<Ended>);

pub(crate) fn recorder() -> (Recorder, mpsc::UnboundedReceiver<Ended>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Recorder(sender), receiver)
}

impl Observe for Recorder {
    fn ended(&self, call: &ObservedCall<'_>, end: &CallSummary<'_>) {
        let _ = self.0.send(Ended {
            side: call.side(),
            path: call.path().to_owned(),
            code: end.code,
            messages: (end.request_messages, end.reply_messages),
            bytes: (end.request_bytes, end.reply_bytes),
            took: end.took,
            first_reply: end.first_reply,
        });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Medium {
    Native,
    Custom,
    InProcess,
}

/// A parrot that is called over a medium, with observers on both sides.
struct Observed {
    medium: Medium,
    stub: EchoClient,
    seen: std::sync::Arc<Seen>,
    ends: mpsc::UnboundedReceiver<Ended>,
    metrics: Metrics,
    /// The server, and its peer; `None` in the same process.
    server: Option<(Server, Peer)>,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.medium.fmt(f)
    }
}

async fn observed(medium: Medium) -> Observed {
    observed_with(medium, Config::default(), Config::default()).await
}

/// The configurations are those of the client and of the server. In the same process there are none.
async fn observed_with(medium: Medium, at_client: Config, at_server: Config) -> Observed {
    let (recorder, ends) = recorder();
    let (parrot, metrics) = (Parrot::default(), Metrics::new());
    let seen = parrot.0.clone();
    let (stub, server) = match medium {
        Medium::InProcess => {
            let target = InProcess::new(EchoServer::new(parrot));
            let target = target.with_metrics(&metrics).with_observer(recorder);
            (EchoClient::new(&target), None)
        }
        Medium::Native | Medium::Custom => {
            let (here, there) = tokio::io::duplex(64 * 1024);
            let server = Server::builder().add_service(EchoServer::new(parrot));
            let server = server.metrics(&metrics).observe(recorder.clone());
            let mut server = server.config(at_server).build().unwrap();
            let client = Peer::builder("").metrics(&metrics).observe(recorder);
            let client = client.config(at_client);
            let (accepted, peer) = match medium {
                Medium::Native => {
                    let accepted = server.accept_over(there).unwrap();
                    (accepted, client.connect_over(here).await)
                }
                _ => {
                    let there = CustomProtocol::accepting(there, Plain::default());
                    let here = CustomProtocol::connecting(here, Plain::default());
                    let accepted = server.accept_over(there).unwrap();
                    (accepted, client.connect_over(here).await)
                }
            };
            (EchoClient::new(&peer.unwrap()), Some((server, accepted)))
        }
    };
    Observed {
        medium,
        stub,
        seen,
        ends,
        metrics,
        server,
    }
}

impl Observed {
    /// The ends of a call on the client and on the server.
    async fn ends(&mut self) -> (Ended, Ended) {
        let one = self.ends.recv().await.unwrap();
        let other = self.ends.recv().await.unwrap();
        match one.side {
            CallSide::Client => (one, other),
            CallSide::Server => (other, one),
        }
    }

    /// Both sides of the call have ended with this code, and nothing is in flight.
    async fn expect(mut self, what: &str, code: Code) {
        let (client, server) = self.ends().await;
        let both = (client.side, client.code, server.side, server.code);
        let expected = (CallSide::Client, code, CallSide::Server, code);
        assert_eq!(both, expected, "{what} over {:?}", self.medium);
        assert_eq!(client.path, server.path, "{what} over {:?}", self.medium);
        self.at_rest(what).await;
    }

    async fn at_rest(mut self, what: &str) {
        let medium = self.medium;
        drop((self.stub, self.server));
        tokio::task::yield_now().await;
        assert!(self.ends.try_recv().is_err(), "{what} over {medium:?}");
        let text = self.metrics.to_prometheus();
        for line in text.lines() {
            if line.starts_with("wawo_calls_in_flight") {
                assert!(line.ends_with(" 0"), "{what} over {medium:?}: {line}");
            }
        }
    }

    /// Waits until the handler of `act` has begun.
    async fn begun(&self) {
        let begun = |seen: &Seen| seen.begun.load(std::sync::atomic::Ordering::SeqCst) > 0;
        self.seen.until(begun).await;
    }
}

const ALL: [Medium; 3] = [Medium::Native, Medium::Custom, Medium::InProcess];
const WITH_STREAMS: [Medium; 2] = [Medium::Native, Medium::InProcess];

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_by_itself_ends_once_on_both_sides() {
    for medium in ALL {
        for (what, code) in [
            ("say", Code::Ok),
            ("yield", Code::Ok),
            ("fail", Code::FailedPrecondition),
            ("panic", Code::Internal),
            ("yield and panic", Code::Internal),
        ] {
            let observed = observed(medium).await;
            let result = observed.stub.act(message(what)).await;
            assert_eq!(
                result.map_or_else(|status| status.code(), |_| Code::Ok),
                code
            );
            observed.expect(what, code).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_in_vain_ends_once_on_both_sides() {
    for medium in ALL {
        let mut at_deadline = observed(medium).await;
        let call = at_deadline.stub.act(message("wait"));
        let ended = call.timeout(Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(ended.code(), Code::DeadlineExceeded);
        let (client, server) = at_deadline.ends().await;
        assert_eq!(client.code, Code::DeadlineExceeded);
        // The packets of the custom protocol have no room for a deadline.
        let told = match medium {
            Medium::Custom => Code::Cancelled,
            Medium::Native | Medium::InProcess => Code::DeadlineExceeded,
        };
        assert_eq!(server.code, told, "{medium:?}");
        at_deadline.at_rest("a deadline").await;

        let dropped = observed(medium).await;
        let call = tokio::spawn(dropped.stub.act(message("wait")));
        dropped.begun().await;
        call.abort();
        dropped.expect("a drop", Code::Cancelled).await;

        let cancelled = observed(medium).await;
        let (call, guard) = cancelled.stub.act(message("wait")).with_cancel_guard();
        let call = tokio::spawn(call);
        cancelled.begun().await;
        guard.cancel();
        assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Cancelled);
        cancelled.expect("a cancel", Code::Cancelled).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_connection_ends_is_unavailable_on_both_sides() {
    for medium in [Medium::Native, Medium::Custom] {
        let lost = observed(medium).await;
        let call = tokio::spawn(lost.stub.act(message("wait")));
        lost.begun().await;
        lost.server.as_ref().unwrap().1.close("as asked");
        assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Unavailable);
        lost.expect("a close", Code::Unavailable).await;

        let cut = observed(medium).await;
        let call = tokio::spawn(cut.stub.act(message("wait")));
        cut.begun().await;
        let peer = cut.server.as_ref().unwrap().1.clone();
        let report = peer.drain(Duration::from_secs(1)).await;
        assert_eq!(report.cut.len(), 1);
        drop(peer);
        assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Unavailable);
        cut.expect("a drain", Code::Unavailable).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_once_on_both_sides() {
    for medium in WITH_STREAMS {
        let repeat = |data: &str, times| RepeatRequest {
            data: data.to_owned().into(),
            times,
        };
        for (data, code) in [("hi", Code::Ok), ("panic", Code::Internal)] {
            let mut observed = observed(medium).await;
            let mut replies = observed.stub.repeat(repeat(data, 3)).await.unwrap();
            while let Ok(Some(_)) = replies.message().await {}
            let (client, server) = observed.ends().await;
            assert_eq!((client.code, server.code), (code, code), "{data}");
            if code == Code::Ok {
                assert_eq!((client.messages, server.messages), ((1, 3), (1, 3)));
                assert_eq!(client.bytes, server.bytes);
                assert!(client.first_reply.is_some() && server.first_reply.is_some());
            }
            observed.at_rest(data).await;
        }

        let abandoned = observed(medium).await;
        let requests = stream::pending::<crate::support::Message>();
        let replies = abandoned.stub.talk(requests).await.unwrap();
        drop(replies);
        abandoned
            .expect("a stream that is dropped", Code::Cancelled)
            .await;

        let late = observed(medium).await;
        let call = late.stub.talk(stream::pending::<crate::support::Message>());
        let mut replies = call.timeout(Duration::from_secs(1)).await.unwrap();
        let ended = replies.message().await.unwrap_err();
        assert_eq!(ended.code(), Code::DeadlineExceeded);
        late.expect("a stream at its deadline", Code::DeadlineExceeded)
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_messages_of_requests_are_counted_on_both_sides() {
    for medium in WITH_STREAMS {
        let mut observed = observed(medium).await;
        let requests = stream::iter(["a", "bc", "def"].map(message));
        let all = observed.stub.join(requests).await.unwrap();
        assert_eq!(all.data, "abcdef");
        let (client, server) = observed.ends().await;
        assert_eq!(client.messages, (3, 1), "{medium:?}");
        assert_eq!(
            (client.messages, client.bytes),
            (server.messages, server.bytes)
        );
        observed.at_rest("requests").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_one_way_message_ends_once_on_both_sides() {
    for medium in ALL {
        for what in ["hi", "wait"] {
            let mut observed = observed(medium).await;
            observed.stub.note(message(what)).await.unwrap();
            observed.seen.release.notify_one();
            let (client, server) = observed.ends().await;
            assert_eq!((client.code, server.code), (Code::Ok, Code::Ok));
            assert_eq!((client.messages, server.messages), ((1, 0), (1, 0)));
            observed.at_rest(what).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_of_an_unknown_method_has_no_name() {
    for medium in [Medium::Native, Medium::Custom] {
        let mut observed = observed(medium).await;
        let peer = observed.server.as_ref().unwrap().1.clone();
        // The other side serves nothing.
        let status = EchoClient::new(&peer).say(message("hi")).await;
        assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
        let (client, server) = observed.ends().await;
        assert_eq!(
            (client.code, server.code),
            (Code::Unimplemented, Code::Unimplemented)
        );
        assert_eq!(client.path, "tests.echo.Echo/Say");
        assert_eq!(server.path, "_OTHER");
        drop(peer);
        observed.at_rest("an unknown method").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_an_observer_changes_nothing() {
    struct Broken;
    impl Observe for Broken {
        fn ended(&self, _: &ObservedCall<'_>, _: &CallSummary<'_>) {
            panic!("as asked");
        }
    }
    let (log, _guard) = Log::begin();
    let target = InProcess::new(EchoServer::new(Parrot::default())).with_observer(Broken);
    let (recorder, mut ends) = recorder();
    let target = target.with_observer(recorder);
    let reply = EchoClient::new(&target).say(message("hi")).await.unwrap();
    assert_eq!(reply.data, "hi");
    for _ in 0..2 {
        assert_eq!(ends.recv().await.unwrap().code, Code::Ok);
    }
    let line = "ERROR an observer of calls panicked count=1";
    assert_eq!(log.of("wawo::observe"), [line]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_limit_refuses_or_ends_has_that_code_on_both_sides() {
    let config =
        |change: fn(ConfigBuilder) -> ConfigBuilder| change(Config::builder()).build().unwrap();
    let default = Config::default;

    let one_stream = config(|config| config.max_streams(1));
    let mut refused = observed_with(Medium::Native, default(), one_stream).await;
    let talk = || {
        refused
            .stub
            .talk(stream::pending::<crate::support::Message>())
    };
    let first = talk().await.unwrap();
    assert_eq!(talk().await.unwrap_err().code(), Code::ResourceExhausted);
    let (client, server) = refused.ends().await;
    assert_eq!(
        (client.code, server.code),
        (Code::ResourceExhausted, Code::ResourceExhausted)
    );
    assert_eq!(
        (&*client.path, &*server.path),
        ("tests.echo.Echo/Talk", "tests.echo.Echo/Talk")
    );
    let text = refused.metrics.to_prometheus();
    assert!(
        text.contains("wawo_calls_refused_total{side=\"server\",reason=\"max_streams\"} 1"),
        "{text}"
    );
    drop(first);
    refused
        .expect("the stream that was let in", Code::Cancelled)
        .await;

    // The client takes no such reply.
    let small = || config(|config| config.max_message_bytes(65_536));
    let too_large = observed_with(Medium::Native, small(), default()).await;
    let repeat = RepeatRequest {
        data: vec![1; 70_000].into(),
        times: 1,
    };
    let replies = too_large.stub.repeat(repeat).await;
    let ended = match replies {
        Ok(mut replies) => replies.message().await.unwrap_err(),
        Err(status) => status,
    };
    assert_eq!(ended.code(), Code::ResourceExhausted);
    too_large
        .expect("a reply in a stream", Code::ResourceExhausted)
        .await;

    let too_large = observed_with(Medium::Native, small(), default()).await;
    let ended = too_large
        .stub
        .say(message(vec![1; 70_000]))
        .await
        .unwrap_err();
    assert_eq!(ended.code(), Code::ResourceExhausted);
    too_large.expect("a reply", Code::ResourceExhausted).await;
}
