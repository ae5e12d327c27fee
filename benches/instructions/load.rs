//! The counted programs: a server of one connection, and clients that load it.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, future::try_join_all, stream};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use wawo::{
    Context, Metrics, Peer, Server, Status, Streaming,
    observe::{AccessLog, Spans},
};

use crate::{
    Result,
    echo::{Echo, EchoClient, EchoServer, Message, RepeatRequest},
};

/// The message bytes, as in most loads of `benches/peers`.
const BYTES: usize = 32;

/// A way to load a server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// Unary calls, with this many in flight.
    Unary(u64),
    /// Calls with an optional feature, 64 in flight.
    With(Extra),
    /// Items of a stream of replies.
    Items,
    /// One-way messages.
    OneWay,
}

/// An optional part of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extra {
    /// Its own timeout.
    Timeout,
    /// Three entries of metadata.
    Metadata,
    /// Metrics on both sides.
    Metrics,
    /// Metrics, and spans without a subscriber, on both sides.
    Spans,
    /// An access log of one call in 100, on both sides.
    AccessLog,
}

impl Load {
    pub(crate) const ALL: [Self; 9] = [
        Self::Unary(1),
        Self::Unary(64),
        Self::Items,
        Self::OneWay,
        Self::With(Extra::Timeout),
        Self::With(Extra::Metadata),
        Self::With(Extra::Metrics),
        Self::With(Extra::Spans),
        Self::With(Extra::AccessLog),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unary(1) => "unary-1-in-flight",
            Self::Unary(_) => "unary-64-in-flight",
            Self::With(Extra::Timeout) => "unary-64-with-timeout",
            Self::With(Extra::Metadata) => "unary-64-with-metadata",
            Self::With(Extra::Metrics) => "unary-64-with-metrics",
            Self::With(Extra::Spans) => "unary-64-with-metrics-and-spans",
            Self::With(Extra::AccessLog) => "unary-64-with-access-log",
            Self::Items => "stream-item",
            Self::OneWay => "one-way",
        }
    }

    pub(crate) fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|load| load.name() == name);
        found.ok_or_else(|| format!("unknown load `{name}`").into())
    }

    /// The smaller and the larger number of calls.
    pub(crate) fn calls(self) -> (u64, u64) {
        match self {
            Self::Unary(1) => (1_000, 6_000),
            Self::Unary(_) | Self::With(_) => (6_400, 64_000),
            Self::Items => (100_000, 600_000),
            Self::OneWay => (100_000, 400_000),
        }
    }

    /// Connects, makes this many calls, and disconnects.
    pub(crate) fn run(self, address: &str, calls: u64) -> Result<()> {
        runtime()?.block_on(async {
            let builder = Peer::builder(address);
            let builder = match self {
                Self::With(Extra::Metrics) => builder.metrics(&Metrics::new()),
                Self::With(Extra::Spans) => builder.metrics(&Metrics::new()).observe(Spans),
                Self::With(Extra::AccessLog) => builder.observe(access_log()),
                _ => builder,
            };
            let peer = builder.connect().await?;
            let client = EchoClient::new(&peer);
            match self {
                Self::Unary(at_once) => {
                    let callers = (0..at_once).map(|_| call(client.clone(), calls / at_once));
                    all(callers).await?;
                }
                Self::With(extra) => {
                    let callers = (0..64).map(|_| call_with(client.clone(), extra, calls / 64));
                    all(callers).await?;
                }
                Self::Items => read(&client, calls).await?,
                Self::OneWay => send(&client, calls).await?,
            }
            Ok(())
        })
    }
}

/// Both processes have one thread, so that chance has little effect.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn message() -> Message {
    Message {
        data: Bytes::from_static(&[7; BYTES]),
    }
}

async fn call(client: EchoClient, times: u64) -> wawo::Result<()> {
    for _ in 0..times {
        client.say(message()).await?;
    }
    Ok(())
}

async fn call_with(client: EchoClient, extra: Extra, times: u64) -> wawo::Result<()> {
    for _ in 0..times {
        let call = client.say(message());
        let call = match extra {
            Extra::Timeout => call.timeout(Duration::from_secs(5)),
            Extra::Metadata => call
                .metadata("tenant", "42")
                .metadata("user", "ada")
                .metadata("request-id", "0af7651916cd43dd8448eb211c80319c"),
            Extra::Metrics | Extra::Spans | Extra::AccessLog => call,
        };
        call.await?;
    }
    Ok(())
}

/// Runs callers as tasks, until the last one ends.
async fn all(
    callers: impl Iterator<Item = impl Future<Output = wawo::Result<()>> + Send + 'static>,
) -> Result<()> {
    let ended = try_join_all(callers.map(tokio::spawn)).await?;
    Ok(ended.into_iter().collect::<wawo::Result<()>>()?)
}

async fn read(client: &EchoClient, items: u64) -> Result<()> {
    let request = RepeatRequest {
        data: message().data,
        times: items.try_into()?,
    };
    let mut replies = client.repeat(request).await?;
    let mut read = 0;
    while replies.message().await?.is_some() {
        read += 1;
    }
    match read == items {
        true => Ok(()),
        false => Err(format!("{read} items of {items}").into()),
    }
}

async fn send(client: &EchoClient, notes: u64) -> wawo::Result<()> {
    for _ in 0..notes {
        client.note(message()).await?;
    }
    // This call comes after all of them.
    client.say(message()).await?;
    Ok(())
}

/// The log of one call in 100, with its lines thrown away.
fn access_log() -> AccessLog {
    AccessLog::json(io::sink()).sample(100)
}

/// Prints its address, and serves one connection of a load until it is over.
pub(crate) fn serve(address: &str, load: Load) -> Result<()> {
    runtime()?.block_on(async {
        let listener = TcpListener::bind(address).await?;
        writeln!(io::stdout(), "tcp://{}", listener.local_addr()?)?;
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let builder = Server::builder().add_service(EchoServer::new(Parrot));
        let builder = match load {
            Load::With(Extra::Metrics) => builder.metrics(&Metrics::new()),
            Load::With(Extra::Spans) => builder.metrics(&Metrics::new()).observe(Spans),
            Load::With(Extra::AccessLog) => builder.observe(access_log()),
            _ => builder,
        };
        let mut server = builder.build()?;
        server.accept_over(stream)?.closed().await;
        Ok(())
    })
}

struct Parrot;

impl Echo for Parrot {
    async fn say(&self, _cx: Context, message: Message) -> wawo::Result<Message> {
        Ok(message)
    }

    async fn act(&self, _cx: Context, _: Message) -> wawo::Result<Message> {
        Err(Status::unimplemented("not counted"))
    }

    async fn note(&self, _cx: Context, _: Message) {}

    async fn repeat(
        &self,
        _cx: Context,
        request: RepeatRequest,
    ) -> wawo::Result<Streaming<Message>> {
        let RepeatRequest { data, times } = request;
        let items = (0..times).map(move |_| Ok(Message { data: data.clone() }));
        Ok(Streaming::new(stream::iter(items)))
    }

    async fn join(&self, _cx: Context, requests: Streaming<Message>) -> wawo::Result<Message> {
        let last = requests.fold(Ok(Message::default()), async |_, message| message);
        last.await
    }

    async fn talk(
        &self,
        _cx: Context,
        requests: Streaming<Message>,
    ) -> wawo::Result<Streaming<Message>> {
        Ok(requests)
    }
}
