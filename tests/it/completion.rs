//! Handlers of methods that run to completion continue when their call is cancelled.

use std::{
    sync::Arc,
    task::{self, Poll, Waker},
    time::Duration,
};

use futures::{FutureExt, stream};
use tokio::{
    runtime::Runtime,
    sync::{Notify, watch},
    time::Instant,
};
use tower::Service;
use wawo::{
    Body, Code, Context, InProcess, Peer, Request, ResponseFuture, Result, Server, ServerBuilder,
    Status, Streaming,
};
pub(crate) use wawo_test_protos::tests::completion::ledger_service::method::{BOOK, LOOK};
use wawo_test_protos::tests::completion::{Entry, Ledger, LedgerClient, LedgerServer};

use crate::{
    layer_ends::{Ending, recorder},
    logged::Log,
    support::{EchoClient, EchoServer, Parrot, message, of_server},
};

/// The progress of handlers, as counts.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Counts {
    begun: u32,
    /// Handlers that noticed the cancellation of their call.
    cancelled: u32,
    /// Handlers that reached their end.
    ended: u32,
    /// Handlers that were dropped, at their end or before.
    dropped: u32,
}

/// A service whose handlers wait until their call is cancelled, and then until they are released.
#[derive(Debug, Default)]
struct Books {
    counts: watch::Sender<Counts>,
    release: Notify,
}

impl Books {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }

    fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    async fn until(&self, is_so: impl Fn(&Counts) -> bool) {
        let mut counts = self.counts.subscribe();
        let so = counts.wait_for(is_so);
        let in_time = tokio::time::timeout(Duration::from_secs(5), so).await;
        in_time.expect("it comes so far").unwrap();
    }

    async fn be_cancelled(&self, cx: &Context) -> OnDrop<'_> {
        self.count(|counts| counts.begun += 1);
        let held = OnDrop(self);
        cx.cancelled().await;
        self.count(|counts| counts.cancelled += 1);
        self.release.notified().await;
        held
    }

    /// Releases one handler whose call was cancelled, until its end.
    async fn finish_one(&self) {
        self.until(|counts| counts.cancelled == 1).await;
        assert_eq!(self.counts().dropped, 0);
        self.release.notify_one();
        self.until(|counts| (counts.ended, counts.dropped) == (1, 1))
            .await;
    }
}

struct OnDrop<'a>(&'a Books);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.count(|counts| counts.dropped += 1);
    }
}

/// The request's text selects what a method does after its call was cancelled.
impl Ledger for Books {
    async fn book(&self, cx: Context, entry: Entry) -> Result<Entry> {
        if entry.text == "panic at once" {
            let _held = OnDrop(self);
            tokio::task::yield_now().await;
            panic!("as asked");
        }
        let _held = self.be_cancelled(&cx).await;
        match entry.text.as_str() {
            "panic" => panic!("as asked"),
            "fail" => return Err(Status::internal("lost").with_source("a reason")),
            "call" => {
                let echo = EchoClient::new(&InProcess::new(EchoServer::new(Parrot::default())));
                let left = echo.act(message("deadline")).await?;
                assert_eq!(left.data, "10000", "the default of what carries the call");
                echo.act(message("yield")).await?;
            }
            _ => assert!(cx.is_cancelled()),
        }
        self.count(|counts| counts.ended += 1);
        Ok(entry)
    }

    async fn import(&self, _cx: Context, mut entries: Streaming<Entry>) -> Result<Entry> {
        self.count(|counts| counts.begun += 1);
        let _held = OnDrop(self);
        while let Some(entry) = entries.message().await.transpose() {
            if entry.is_err_and(|status| status.code() == Code::Cancelled) {
                self.count(|counts| counts.cancelled += 1);
            }
        }
        self.release.notified().await;
        self.count(|counts| counts.ended += 1);
        Ok(Entry::default())
    }

    async fn list(&self, cx: Context, _: Entry) -> Result<Streaming<Entry>> {
        let _held = self.be_cancelled(&cx).await;
        self.count(|counts| counts.ended += 1);
        let unread = stream::poll_fn(|_| -> Poll<Option<Entry>> { panic!("nobody reads this") });
        Ok(Streaming::new(unread))
    }

    async fn look(&self, cx: Context, entry: Entry) -> Result<Entry> {
        let _held = self.be_cancelled(&cx).await;
        self.count(|counts| counts.ended += 1);
        Ok(entry)
    }
}

fn entry(text: &str) -> Entry {
    Entry {
        text: text.to_owned(),
    }
}

fn in_process() -> (LedgerClient, Arc<Books>) {
    let books = Arc::new(Books::default());
    let carrier = InProcess::new(LedgerServer::from_arc(books.clone()));
    (LedgerClient::new(&carrier), books)
}

/// The futures that keep a connection going.
struct Ends {
    server: Server,
    at_server: Peer,
    at_client: Peer,
}

async fn connected() -> (Ends, LedgerClient, Arc<Books>) {
    let books = Arc::new(Books::default());
    let service = LedgerServer::from_arc(books.clone());
    let (here, there) = tokio::io::duplex(1024);
    let mut server = Server::builder().add_service(service).build().unwrap();
    let at_server = server.accept_over(there).unwrap();
    let at_client = Peer::builder("").connect_over(here).await.unwrap();
    let client = LedgerClient::new(&at_client);
    let ends = Ends {
        server,
        at_server,
        at_client,
    };
    (ends, client, books)
}

async fn outlives_a_caller_that_gives_up(ledger: &LedgerClient, books: &Books) {
    let call = tokio::spawn(ledger.book(entry("")));
    books.until(|counts| counts.begun == 1).await;
    call.abort();
    books.finish_one().await;
}

#[tokio::test]
async fn a_handler_outlives_a_caller_that_gives_up() {
    let (ledger, books) = in_process();
    outlives_a_caller_that_gives_up(&ledger, &books).await;
    let (_ends, ledger, books) = connected().await;
    outlives_a_caller_that_gives_up(&ledger, &books).await;
}

async fn outlives_its_deadline(ledger: &LedgerClient, books: &Books) {
    let call = ledger.book(entry("")).timeout(Duration::from_millis(300));
    let status = call.await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    books.finish_one().await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_sees_the_deadline_of_a_handler_that_goes_on() {
    let books = Arc::new(Books::default());
    let (recorder, mut seen) = recorder();
    let service = LedgerServer::from_arc(books.clone()).layer(recorder);
    let ledger = LedgerClient::new(&InProcess::new(service));
    let call = ledger.book(entry("")).timeout(Duration::from_millis(300));
    assert_eq!(call.await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(seen.next().await, Ending::Of(Code::DeadlineExceeded));
    books.finish_one().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_outlives_its_deadline() {
    let (ledger, books) = in_process();
    outlives_its_deadline(&ledger, &books).await;
    let (_ends, ledger, books) = connected().await;
    outlives_its_deadline(&ledger, &books).await;
}

#[tokio::test]
async fn a_handler_outlives_its_connection() {
    let (ends, ledger, books) = connected().await;
    let call = tokio::spawn(ledger.book(entry("")));
    books.until(|counts| counts.begun == 1).await;
    ends.at_client.close("gone");
    assert!(call.await.unwrap().is_err());
    books.finish_one().await;
    let (ends, ledger, books) = connected().await;
    let call = tokio::spawn(ledger.book(entry("")));
    books.until(|counts| counts.begun == 1).await;
    drop(ends.server);
    assert!(call.await.unwrap().is_err());
    books.finish_one().await;
}

#[tokio::test]
async fn a_handler_of_another_method_ends_with_its_call() {
    let (_ends, ledger, books) = connected().await;
    let call = tokio::spawn(ledger.look(entry("")));
    books.until(|counts| counts.begun == 1).await;
    call.abort();
    books.until(|counts| counts.dropped == 1).await;
    assert_eq!(books.counts().cancelled, 0);
    assert!(BOOK.runs_to_completion() && !LOOK.runs_to_completion());
}

#[tokio::test(start_paused = true)]
async fn its_own_calls_inherit_neither_deadline_nor_cancellation() {
    let (_ends, ledger, books) = connected().await;
    let call = ledger.book(entry("call"));
    call.timeout(Duration::from_secs(1)).await.unwrap_err();
    books.finish_one().await;
}

async fn requests_fail(ledger: &LedgerClient, books: &Books) {
    let call = tokio::spawn(ledger.import(Streaming::pending()));
    books.until(|counts| counts.begun == 1).await;
    call.abort();
    books.finish_one().await;
}

#[tokio::test]
async fn its_requests_fail_when_the_call_is_cancelled() {
    let (ledger, books) = in_process();
    requests_fail(&ledger, &books).await;
    let (_ends, ledger, books) = connected().await;
    requests_fail(&ledger, &books).await;
}

#[tokio::test]
async fn a_stream_of_replies_that_comes_too_late_is_not_read() {
    let (_ends, ledger, books) = connected().await;
    let (log, _guard) = Log::begin();
    let call = tokio::spawn(ledger.list(entry("")));
    books.until(|counts| counts.begun == 1).await;
    call.abort();
    books.finish_one().await;
    assert_eq!(log.lines("the handler panicked").len(), 0);
}

#[tokio::test]
async fn a_failure_after_the_call_stays_in_the_handler_and_is_logged() {
    let (log, _guard) = Log::begin();
    let (_ends, ledger, books) = connected().await;
    for (text, dropped, logged) in [
        (
            "fail",
            1,
            "ERROR a call failed method=tests.completion.Ledger/Book peer=peer ",
        ),
        ("panic", 2, "Internal: the handler panicked: "),
    ] {
        let call = tokio::spawn(ledger.book(entry(text)));
        books.until(|counts| counts.begun == dropped).await;
        call.abort();
        books.until(|counts| counts.cancelled == dropped).await;
        assert_eq!(log.lines(logged).len(), 0);
        books.release.notify_one();
        books.until(|counts| counts.dropped == dropped).await;
        tokio::task::yield_now().await;
        assert_eq!(log.lines(logged).len(), 1, "{log:?}");
    }
    assert_eq!(books.counts().ended, 0);
    let again = tokio::spawn(ledger.book(entry("")));
    books.until(|counts| counts.begun == 3).await;
    again.abort();
}

#[tokio::test]
async fn a_handler_that_panics_before_is_not_run_on() {
    let (log, _guard) = Log::begin();
    let (ledger, books) = in_process();
    let status = ledger.book(entry("panic at once")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    tokio::task::yield_now().await;
    assert_eq!(log.lines("the handler panicked").len(), 1, "{log:?}");
    assert_eq!(books.counts().dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_it() {
    drain_beside_it("mem://completion", Server::builder()).await;
}

#[tokio::test]
async fn it_outlives_a_server_with_workers() {
    drain_beside_it(
        "mem://completion-worker",
        Server::builder().config(of_server(|config| config.workers(Some(1)))),
    )
    .await;
}

/// Drains a server while the handler of a cancelled call runs, and then releases the handler.
async fn drain_beside_it(address: &str, server: ServerBuilder) {
    let books = Arc::new(Books::default());
    let server = server.add_service(LedgerServer::from_arc(books.clone()));
    let server = server.bind(address).await.unwrap();
    let handle = server.handle();
    let running = tokio::spawn(server.run());
    let peer = Peer::builder(address).connect().await.unwrap();
    let call = tokio::spawn(LedgerClient::new(&peer).book(entry("")));
    books.until(|counts| counts.begun == 1).await;
    call.abort();
    books.until(|counts| counts.cancelled == 1).await;
    let begin = Instant::now();
    let report = handle.drain(Duration::from_secs(60)).await;
    running.await.unwrap().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1) && report.cut.is_empty());
    books.finish_one().await;
}

#[tokio::test]
async fn a_drain_that_cuts_a_call_does_not_end_its_handler() {
    let (ends, ledger, books) = connected().await;
    let call = tokio::spawn(ledger.book(entry("")));
    books.until(|counts| counts.begun == 1).await;
    let report = ends.at_server.drain(Duration::from_millis(1)).await;
    assert_eq!(report.cut.len(), 1);
    assert!(call.await.unwrap().is_err());
    books.finish_one().await;
}

fn call_book(books: &Arc<Books>, entry: &Entry) -> ResponseFuture {
    let message = prost::Message::encode_to_vec(entry);
    let request = Request::new(&BOOK, Body::One(bytes::Bytes::from(message).into()));
    LedgerServer::from_arc(books.clone()).call(request)
}

#[tokio::test]
async fn a_handler_that_has_not_begun_does_not_begin() {
    let books = Arc::new(Books::default());
    drop(call_book(&books, &entry("")));
    tokio::task::yield_now().await;
    assert_eq!(books.counts(), Counts::default());
}

#[test]
fn a_reply_may_be_dropped_outside_of_the_runtime_and_after_it() {
    let books = Arc::new(Books::default());
    let runtime = Runtime::new().unwrap();
    let begin = || {
        let _entered = runtime.enter();
        let mut reply = call_book(&books, &entry(""));
        let mut cx = task::Context::from_waker(Waker::noop());
        assert!(reply.poll_unpin(&mut cx).is_pending());
        reply
    };
    drop(begin());
    runtime.block_on(books.finish_one());
    let reply = begin();
    drop(runtime);
    assert_eq!(books.counts().dropped, 1);
    drop(reply);
    assert_eq!(books.counts().dropped, 2, "there is nowhere to go on");
}

#[test]
fn it_ends_with_the_runtime() {
    let runtime = Runtime::new().unwrap();
    let (ledger, books) = in_process();
    runtime.spawn(ledger.book(entry("")));
    runtime.block_on(books.until(|counts| counts.begun == 1));
    drop(runtime);
    assert_eq!((books.counts().ended, books.counts().dropped), (0, 1));
}
