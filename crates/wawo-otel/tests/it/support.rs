//! A service whose handlers call others, and the spans of a test.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock, Mutex},
};

use futures::stream;
use opentelemetry::trace::{SpanKind, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use tracing::{Dispatch, Instrument as _, info_span, subscriber::DefaultGuard};
use tracing_subscriber::{Registry, layer::SubscriberExt as _};
use wawo::{Call, Context, InProcess, Peer, Result, Server, Status, Streaming};
use wawo_otel::Traces;
pub(crate) use wawo_test_protos::tests::echo::{
    Echo, EchoClient, EchoServer, Message, RepeatRequest,
};

/// The spans that were exported in this thread, in the order of their ends.
pub(crate) struct Exported {
    exporter: InMemorySpanExporter,
    /// Ends the export when it is dropped.
    _provider: SdkTracerProvider,
    _guard: DefaultGuard,
}

/// With a second subscriber, `tracing` asks the subscriber of each thread whether it is interested.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Registry::default()));

impl Exported {
    /// Exports the spans of this thread.
    pub(crate) fn begin() -> Self {
        Self::sampled(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
    }

    /// Exports the spans of this thread that a sampler of the SDK lets pass.
    pub(crate) fn sampled(sampler: Sampler) -> Self {
        LazyLock::force(&SECOND);
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .with_sampler(sampler)
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        Self {
            exporter,
            _provider: provider,
            _guard: tracing::subscriber::set_default(Registry::default().with(layer)),
        }
    }

    /// The spans that have ended.
    pub(crate) fn spans(&self) -> Vec<SpanData> {
        self.exporter.get_finished_spans().unwrap()
    }

    /// The spans of one trace, each before its only child.
    pub(crate) fn chain(&self) -> Vec<SpanData> {
        let mut spans = self.spans();
        let ids: Vec<_> = spans
            .iter()
            .map(|span| span.span_context.span_id())
            .collect();
        let mut parent = spans.iter().map(|span| span.parent_span_id);
        let mut next = parent.find(|parent| !ids.contains(parent));
        let mut chain = Vec::new();
        while let Some(parent) = next {
            let Some(found) = spans.iter().position(|span| span.parent_span_id == parent) else {
                break;
            };
            let span = spans.swap_remove(found);
            next = Some(span.span_context.span_id());
            chain.push(span);
        }
        assert!(
            spans.is_empty(),
            "beside the chain {chain:#?} there are {spans:#?}"
        );
        let traces = chain
            .iter()
            .map(|span: &SpanData| span.span_context.trace_id().to_bytes());
        let traces: BTreeSet<_> = traces.collect();
        assert!(traces.len() <= 1, "{chain:#?}");
        chain
    }
}

/// The kinds of spans, in short.
pub(crate) fn kinds(spans: &[SpanData]) -> String {
    let kinds = spans.iter().map(|span| match span.span_kind {
        SpanKind::Client => "client",
        SpanKind::Server => "server",
        _ => "other",
    });
    kinds.collect::<Vec<_>>().join(" ")
}

/// The value of an attribute, as text.
pub(crate) fn attribute(span: &SpanData, key: &str) -> Option<String> {
    let mut attributes = span.attributes.iter();
    let found = attributes.find(|attribute| attribute.key.as_str() == key)?;
    Some(found.value.to_string())
}

/// The metadata of a call, as its handler got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) traceparent: Option<String>,
    pub(crate) tracestate: Option<String>,
}

/// A service whose calls say what their handlers do, in words between which there are spaces:
///
/// | word | the handler |
/// |---|---|
/// | `next` | calls the next node with the rest |
/// | `back` | calls its caller back with the rest |
/// | `inside` | calls the next node with the rest, in a span of its own |
/// | `spawned` | calls the next node with the rest, in a task with its context and span |
/// | `detached` | calls the next node with the rest, detached |
/// | `wait` | never ends |
/// | another | fails with `NotFound` |
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    next: Option<EchoClient>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Node {
    /// A node whose handlers call this one.
    pub(crate) fn before(next: EchoClient) -> Self {
        Self {
            next: Some(next),
            ..Self::default()
        }
    }

    /// The metadata that handlers of this node got, in the order of the calls.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// A stub that calls this node in the same process; each call is traced so.
    pub(crate) fn traced(&self, traces: Traces) -> EchoClient {
        let service = InProcess::new(EchoServer::new(self.clone()));
        EchoClient::new(&service.with_observer(traces))
    }

    /// A stub that calls this node in the same process, without traces.
    pub(crate) fn untraced(&self) -> EchoClient {
        EchoClient::new(&InProcess::new(EchoServer::new(self.clone())))
    }

    fn next(&self, words: &str) -> Call<Message> {
        let next = self.next.as_ref().expect("the script fits to the nodes");
        next.act(script(words))
    }
}

/// A connection between two nodes, which ends when this is dropped.
pub(crate) struct Connection {
    _server: Server,
    pub(crate) to_server: Peer,
}

impl Connection {
    /// All calls are traced.
    pub(crate) async fn between(client: Node, server: Node) -> Self {
        Self::sampled(client, server, 1.0).await
    }

    /// Calls without a parent are traced at a ratio.
    pub(crate) async fn sampled(client: Node, server: Node, ratio: f64) -> Self {
        let traces = || Traces::new().sample_ratio(ratio);
        let (here, there) = tokio::io::duplex(64 * 1024);
        let service = EchoServer::new(server);
        let server = Server::builder().add_service(service).observe(traces());
        let mut server = server.build().unwrap();
        let _to_client = server.accept_over(there).unwrap();
        let service = EchoServer::new(client);
        let client = Peer::builder("").add_service(service).observe(traces());
        Self {
            _server: server,
            to_server: client.connect_over(here).await.unwrap(),
        }
    }

    pub(crate) fn stub(&self) -> EchoClient {
        EchoClient::new(&self.to_server)
    }
}

pub(crate) fn script(words: &str) -> Message {
    Message {
        data: words.to_owned().into(),
    }
}

impl Echo for Node {
    async fn say(&self, _: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn act(&self, cx: Context, request: Message) -> Result<Message> {
        let metadata = |key| cx.metadata(key).map(str::to_owned);
        self.seen.lock().unwrap().push(Seen {
            traceparent: metadata("traceparent"),
            tracestate: metadata("tracestate"),
        });
        let words = String::from_utf8_lossy(&request.data);
        let (word, rest) = words.split_once(' ').unwrap_or((&words, ""));
        match word {
            "" => Ok(request),
            "next" => self.next(rest).await,
            "spawned" => {
                let task = wawo::spawn(self.next(rest).in_current_span());
                task.await.expect("it is not aborted")
            }
            "detached" => self.next(rest).detached().await,
            "inside" => self.next(rest).instrument(info_span!("inside")).await,
            "back" => EchoClient::new(&cx.peer()).act(script(rest)).await,
            "wait" => std::future::pending().await,
            other => Err(Status::not_found(format!("no word `{other}`"))),
        }
    }

    async fn note(&self, _: Context, _: Message) {}

    async fn repeat(&self, _: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let message = Message { data: request.data };
        let replies = (0..request.times).map(move |_| Ok(message.clone()));
        Ok(Streaming::new(stream::iter(replies)))
    }

    async fn join(&self, _: Context, _: Streaming<Message>) -> Result<Message> {
        Ok(script(""))
    }

    async fn talk(&self, _: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(requests)
    }
}
