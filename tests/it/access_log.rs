//! The access log of real calls. Its lines are compared field by field, without their times.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::stream;
use tokio::sync::mpsc;
use wawo::{
    Code, Config, InProcess, Metrics, Peer, Presented, Refusal, Server, observe::AccessLog,
};

use crate::{
    observe::{Ended, recorder},
    support::{EchoClient, EchoServer, Message, Parrot, RepeatRequest, message},
};

/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(600);

/// A file in memory.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn lines(&self) -> Vec<Line> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| Line(line.to_owned())).collect()
    }
}

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An object of JSON, whose values in these tests have no commas and no quotes inside.
#[derive(Debug)]
struct Line(String);

impl Line {
    /// The value of a field, as it is written; empty if it is not there.
    fn field(&self, name: &str) -> &str {
        let begin = format!("\"{name}\":");
        let value = self.0.split_once(&begin).map_or("", |(_, rest)| rest);
        value.split([',', '}']).next().unwrap().trim_matches('"')
    }

    fn number(&self, name: &str) -> u64 {
        let value = self.field(name);
        value.parse().unwrap_or_else(|_| panic!("{name}: {self:?}"))
    }

    /// The side, method, code, and the messages and bytes in both directions.
    fn figures(&self) -> String {
        let names = [
            "side",
            "method",
            "code",
            "request_messages",
            "request_bytes",
            "reply_messages",
            "reply_bytes",
        ];
        let fields = names.map(|name| self.field(name).replace("tests.echo.Echo/", ""));
        fields.join(" ")
    }
}

/// A parrot and a caller that share a log.
struct Logged {
    log: AccessLog,
    page: Page,
    stub: EchoClient,
    ends: mpsc::UnboundedReceiver<Ended>,
    /// The number of lines that were looked at.
    read: usize,
    _server: Option<Server>,
}

impl Logged {
    async fn over_a_connection(set: impl FnOnce(AccessLog) -> AccessLog) -> Self {
        let page = Page::default();
        let log = set(AccessLog::json(page.clone()));
        let (recorder, ends) = recorder();
        let (here, there) = tokio::io::duplex(64 * 1024);
        let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
        // Observers are called in order, so that the line is there when the recorder is called.
        let server = server.observe(log.clone()).observe(recorder.clone());
        let mut server = server.build().unwrap();
        let _ = server.accept_over(there).unwrap();
        let client = Peer::builder("").observe(log.clone()).observe(recorder);
        let peer = client.connect_over(here).await.unwrap();
        Self {
            log,
            page,
            stub: EchoClient::new(&peer),
            ends,
            read: 0,
            _server: Some(server),
        }
    }

    fn in_process() -> Self {
        let page = Page::default();
        let log = AccessLog::json(page.clone());
        let (recorder, ends) = recorder();
        let target = InProcess::new(EchoServer::new(Parrot::default()));
        let target = target.with_observer(log.clone()).with_observer(recorder);
        Self {
            log,
            page,
            stub: EchoClient::new(&target),
            ends,
            read: 0,
            _server: None,
        }
    }

    /// The lines of the last call: of the client, and of the server.
    async fn lines(&mut self) -> (Line, Line) {
        for _ in 0..2 {
            self.ends.recv().await.unwrap();
        }
        assert!(self.log.flush(LONG));
        let mut lines = self.page.lines().split_off(self.read);
        assert_eq!(lines.len(), 2, "{lines:?}");
        self.read += 2;
        lines.sort_by_key(|line| line.field("side").to_owned());
        let server = lines.pop().unwrap();
        (lines.pop().unwrap(), server)
    }

    async fn expect(&mut self, figures: &str) {
        let (client, server) = self.lines().await;
        assert_eq!(client.figures(), format!("client {figures}"));
        assert_eq!(server.figures(), format!("server {figures}"));
    }
}

#[tokio::test(start_paused = true)]
async fn every_shape_of_call_is_a_line_on_both_sides() {
    for mut logged in [
        Logged::over_a_connection(|log| log).await,
        Logged::in_process(),
    ] {
        logged.stub.say(message("hello")).await.unwrap();
        logged.expect("Say OK 1 7 1 7").await;
        logged.stub.note(message("hello")).await.unwrap();
        logged.expect("Note OK 1 7 0 0").await;
        let data = "hello".into();
        let call = logged.stub.repeat(RepeatRequest { data, times: 3 });
        let mut replies = call.await.unwrap();
        while replies.message().await.unwrap().is_some() {}
        logged.expect("Repeat OK 1 9 3 21").await;
        let requests = stream::iter(["a", "bc"].map(message));
        logged.stub.join(requests).await.unwrap();
        logged.expect("Join OK 2 7 1 5").await;
        drop(
            logged
                .stub
                .talk(stream::pending::<Message>())
                .await
                .unwrap(),
        );
        logged.expect("Talk CANCELLED 0 0 0 0").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_says_why_and_how_far_it_came() {
    for mut logged in [
        Logged::over_a_connection(|log| log).await,
        Logged::in_process(),
    ] {
        logged.stub.act(message("fail")).await.unwrap_err();
        let (client, server) = logged.lines().await;
        for line in [&client, &server] {
            assert_eq!(line.field("code"), "FAILED_PRECONDITION");
            assert_eq!(line.field("text"), "as asked");
        }
        assert_eq!(client.field("delivery"), "responded");
        assert_eq!(client.number("attempts"), 1);
        assert_eq!(
            (server.field("delivery"), server.field("attempts")),
            ("", "")
        );
        let call = logged.stub.act(message("wait"));
        call.timeout(Duration::from_millis(1_500))
            .await
            .unwrap_err();
        let (client, server) = logged.lines().await;
        for line in [&client, &server] {
            assert_eq!(line.field("code"), "DEADLINE_EXCEEDED");
            assert!(line.number("duration_us") >= 1_490_000, "{line:?}");
            assert_eq!(line.field("first_reply_us"), "");
        }
        assert_eq!(client.field("delivery"), "unknown");
    }
}

#[tokio::test(start_paused = true)]
async fn only_failed_and_slow_calls_of_the_others_than_the_sample_are_logged() {
    let slow = Duration::from_secs(5);
    let set = |log: AccessLog| log.sample(0).slow(slow);
    let mut logged = Logged::over_a_connection(set).await;
    logged.stub.say(message("hello")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(logged.ends.recv().await.unwrap().code, Code::Ok);
    }
    logged.stub.act(message("fail")).await.unwrap_err();
    logged.expect("Act FAILED_PRECONDITION 1 6 0 0").await;
    logged.stub.act(message("sleep")).await.unwrap();
    logged.expect("Act OK 1 7 1 7").await;
    assert_eq!(logged.page.lines().len(), 4);
}

#[tokio::test]
async fn a_line_names_peer_identity_address_trace_and_allowed_metadata() {
    let (page, (recorder, mut ends)) = (Page::default(), recorder());
    let log = AccessLog::json(page.clone())
        .identity(|name: &String| name.clone())
        .metadata(["user-agent", "api-token"]);
    let server = Server::builder()
        .add_service(EchoServer::new(Parrot::default()))
        .authenticate(async |presented: Presented| {
            Ok::<_, Refusal>(presented.claimed_name().to_owned())
        })
        .observe(log.clone())
        .observe(recorder);
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let address = server.addresses()[0].to_string();
    let server = tokio::spawn(server.run());
    let config = Config::builder().claimed_name("ada").build().unwrap();
    let peer = Peer::builder(&*address).config(config);
    let peer = peer.connect().await.unwrap();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let call = EchoClient::new(&peer).say(message("hello"));
    let call = call.metadata("user-agent", "parrot");
    let call = call.metadata("api-token", "s3cret");
    let call = call.metadata("other", "unseen");
    let call = call.metadata("traceparent", trace);
    call.await.unwrap();
    ends.recv().await.unwrap();
    assert!(log.flush(LONG));
    let lines = page.lines();
    let [line] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(line.field("identity"), "ada");
    assert!(
        line.field("remote").starts_with("tcp://127.0.0.1:"),
        "{line:?}"
    );
    assert!(line.number("peer") > 0 && line.field("protocol") == "wawo");
    assert_eq!(line.field("trace_id"), &trace[3..35]);
    assert_eq!(line.field("span_id"), &trace[36..52]);
    let metadata = r#""metadata":{"user-agent":"parrot","api-token":".."}}"#;
    assert!(line.0.ends_with(metadata), "{line:?}");
    assert!(!line.0.contains("s3cret") && !line.0.contains("unseen"));
    server.abort();
}

/// A file whose drop is noticed.
struct Watched {
    page: Page,
    /// Dropped with the file.
    _sender: std::sync::mpsc::Sender<()>,
}

impl io::Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.page.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.page.flush()
    }
}

#[test]
fn the_end_of_a_server_writes_its_lines_and_a_text_is_for_people() {
    let (page, metrics) = (Page::default(), Metrics::new());
    let (sender, receiver) = std::sync::mpsc::channel();
    let file = Watched {
        page: page.clone(),
        _sender: sender,
    };
    let log = AccessLog::text(file).count_dropped_in(&metrics);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
        let mut server = server.observe(log).build().unwrap();
        let peer = crate::support::client_of(&mut server).await;
        EchoClient::new(&peer).say(message("hello")).await.unwrap();
    });
    drop(runtime);
    // The thread of the log ends with the last handle, after the last line.
    receiver.recv().unwrap_err();
    let lines = page.lines();
    let (time, line) = lines[0].0.split_once(' ').unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    assert!(line.starts_with("server tests.echo.Echo/Say OK "), "{line}");
    assert!(
        line.contains(" request_messages=1 request_bytes=7 "),
        "{line}"
    );
    assert_eq!(lines.len(), 1);
    assert!(
        metrics
            .to_prometheus()
            .contains("wawo_log_dropped_total 0\n")
    );
}
