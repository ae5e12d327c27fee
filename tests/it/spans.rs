//! The spans of calls: a handler runs in that of its call, and each is closed when its call has ended.

mod collector;

use std::{
    future::IntoFuture as _,
    sync::{Arc, Mutex},
};

use futures::{StreamExt as _, poll, stream};
use tokio::{sync::Notify, task::yield_now};
use wawo::{
    Context, InProcess, Peer, Result, Server, Status, Streaming, layer::BlockingLayer,
    observe::Spans,
};
use wawo_test_protos::tests::completion::{Entry, Ledger, LedgerClient, LedgerServer};

use self::collector::{Collector, SpanRecord};
use crate::support::{Echo, EchoClient, EchoServer, Message, Parrot, RepeatRequest, message};

/// A service that keeps the spans in which its code runs.
#[derive(Debug, Clone)]
struct Witness {
    collector: Collector,
    seen: Arc<Mutex<Vec<Option<u64>>>>,
    /// Notified when a one-way message was handled.
    noted: Arc<Notify>,
}

impl Witness {
    fn look(&self) {
        let id = self.collector.current();
        self.seen.lock().unwrap().push(id);
    }

    /// The ids of the spans that were seen since this was called last; equal ones that follow each other count
    /// as one.
    fn seen(&self) -> Vec<Option<u64>> {
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.dedup();
        seen
    }
}

impl Echo for Witness {
    async fn say(&self, _: Context, message: Message) -> Result<Message> {
        self.look();
        Ok(message)
    }

    async fn act(&self, _: Context, _: Message) -> Result<Message> {
        self.look();
        yield_now().await;
        self.look();
        Err(Status::internal("as asked"))
    }

    async fn note(&self, _: Context, _: Message) {
        yield_now().await;
        self.look();
        self.noted.notify_one();
    }

    async fn repeat(&self, _: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let witness = self.clone();
        let replies = (0..request.times).map(move |_| {
            witness.look();
            Ok(message("again"))
        });
        Ok(Streaming::new(stream::iter(replies)))
    }

    async fn join(&self, _: Context, mut requests: Streaming<Message>) -> Result<Message> {
        while requests.message().await?.is_some() {
            self.look();
        }
        Ok(message(""))
    }

    async fn talk(&self, _: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(requests)
    }
}

/// A stub of a service whose calls have spans, and what keeps it up.
async fn connected(service: impl Echo) -> (EchoClient, Server, Peer) {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let server = Server::builder().add_service(EchoServer::new(service));
    let mut server = server.observe(Spans).build().unwrap();
    let to_client = server.accept_over(there).unwrap();
    let client = Peer::builder("").observe(Spans);
    let to_server = client.connect_over(here).await.unwrap();
    (EchoClient::new(&to_server), server, to_client)
}

fn in_process(service: impl Echo) -> EchoClient {
    let target = InProcess::new(EchoServer::new(service));
    EchoClient::new(&target.with_observer(Spans))
}

/// Waits until all spans are closed.
async fn settled(collector: &Collector) {
    while collector.spans().iter().any(|span| !span.is_closed) {
        yield_now().await;
    }
}

/// The only two spans of a call: both are closed.
fn pair(collector: &Collector, code: &str) -> [SpanRecord; 2] {
    let mut spans = collector.take();
    assert_eq!(spans.len(), 2, "{spans:?}");
    for span in &spans {
        assert!(span.is_closed, "{span:?}");
        assert_eq!(span.field("rpc.response.status_code"), Some(code));
    }
    spans.sort_by_key(|span| span.field("otel.kind") == Some("server"));
    spans.try_into().unwrap()
}

#[tokio::test]
async fn the_code_of_a_handler_runs_in_the_span_of_its_call() {
    let (collector, _guard) = Collector::begin();
    let witness = Witness {
        collector: collector.clone(),
        seen: Arc::default(),
        noted: Arc::default(),
    };
    let (native, _server, _to_client) = connected(witness.clone()).await;
    for echo in [native, in_process(witness.clone())] {
        echo.say(message("")).await.unwrap();
        let [_, server] = pair(&collector, "OK");
        assert_eq!(witness.seen(), [Some(server.id)]);

        echo.act(message("")).await.unwrap_err();
        let [client, server] = pair(&collector, "INTERNAL");
        assert_eq!(witness.seen(), [Some(server.id)]);
        for span in [client, server] {
            assert_eq!(span.field("otel.name"), Some("tests.echo.Echo/Act"));
            assert_eq!(span.field("otel.status_code"), Some("ERROR"));
            assert_eq!(span.field("otel.status_description"), Some("as asked"));
        }

        echo.note(message("")).await.unwrap();
        witness.noted.notified().await;
        settled(&collector).await;
        let [_, server] = pair(&collector, "OK");
        assert_eq!(witness.seen(), [Some(server.id)]);

        let request = RepeatRequest {
            data: "".into(),
            times: 3,
        };
        let replies = echo.repeat(request).await.unwrap();
        assert_eq!(replies.count().await, 3);
        let [_, server] = pair(&collector, "OK");
        assert_eq!(witness.seen(), [Some(server.id)]);

        let requests = stream::iter([message("a"), message("b")]);
        echo.join(requests).await.unwrap();
        let [_, server] = pair(&collector, "OK");
        assert_eq!(witness.seen(), [Some(server.id)]);
    }
    // The caller itself is in none of them.
    assert_eq!(collector.current(), None);
}

#[tokio::test]
async fn a_span_stays_open_until_its_stream_has_ended() {
    let (collector, _guard) = Collector::begin();
    let (native, _server, _to_client) = connected(Parrot::default()).await;
    for echo in [native, in_process(Parrot::default())] {
        let requests = stream::iter([message("a")]).chain(stream::pending());
        let mut replies = echo.talk(requests).await.unwrap();
        assert_eq!(replies.message().await.unwrap().unwrap().data, "a");
        assert!(collector.spans().iter().all(|span| !span.is_closed));
        drop(replies);
        settled(&collector).await;
        pair(&collector, "CANCELLED");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_connection_has_one_span_with_all_of_its_tries() {
    let (collector, _guard) = Collector::begin();
    let client = Peer::builder("mem://spans").observe(Spans);
    let peer = client.connect_lazy().unwrap();
    let call = EchoClient::new(&peer)
        .say(message("hi"))
        .wait_for_ready(true);
    let mut call = std::pin::pin!(call);
    assert!(poll!(&mut call).is_pending());
    let [span] = &collector.spans()[..] else {
        panic!("{collector:?}")
    };
    assert!(!span.is_closed);
    assert_eq!(span.field("server.address"), Some("spans"));

    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let server = server.bind("mem://spans").await.unwrap();
    tokio::spawn(server.run());
    call.await.unwrap();
    let spans = collector.take();
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert!(spans[0].is_closed);
}

/// A layer makes the handlers block.
#[tokio::test]
async fn a_handler_that_blocks_runs_in_the_span_of_its_call() {
    let (collector, _guard) = Collector::begin();
    let witness = Witness {
        collector: collector.clone(),
        seen: Arc::default(),
        noted: Arc::default(),
    };
    let service = EchoServer::new(witness.clone()).layer(BlockingLayer::new());
    let target = InProcess::new(service).with_observer(Spans);
    EchoClient::new(&target).say(message("")).await.unwrap();
    settled(&collector).await;
    let [_, server] = pair(&collector, "OK");
    assert_eq!(witness.seen(), [Some(server.id)]);
}

/// A handler that runs to completion.
#[derive(Debug)]
struct Slow(Witness);

impl Ledger for Slow {
    async fn book(&self, cx: Context, entry: Entry) -> Result<Entry> {
        cx.cancelled().await;
        self.0.look();
        yield_now().await;
        self.0.look();
        self.0.noted.notify_one();
        Ok(entry)
    }

    async fn import(&self, _: Context, _: Streaming<Entry>) -> Result<Entry> {
        Ok(Entry::default())
    }

    async fn list(&self, _: Context, _: Entry) -> Result<Streaming<Entry>> {
        Ok(Streaming::empty())
    }

    async fn look(&self, _: Context, entry: Entry) -> Result<Entry> {
        Ok(entry)
    }
}

#[tokio::test]
async fn a_handler_that_outlives_its_call_stays_in_its_span() {
    let (collector, _guard) = Collector::begin();
    let witness = Witness {
        collector: collector.clone(),
        seen: Arc::default(),
        noted: Arc::default(),
    };
    let target = InProcess::new(LedgerServer::new(Slow(witness.clone())));
    let ledger = LedgerClient::new(&target.with_observer(Spans));
    let mut call = Box::pin(ledger.book(Entry::default()).into_future());
    assert!(poll!(&mut call).is_pending());
    drop(call);
    witness.noted.notified().await;
    settled(&collector).await;
    let [_, server] = pair(&collector, "CANCELLED");
    assert_eq!(witness.seen(), [Some(server.id)]);
}
