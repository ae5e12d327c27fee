//! The service under test, the server that has it, and ways to connect to that.

use std::sync::Arc;

use futures::stream;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream},
    sync::{Notify, watch},
};
use wawo::{
    Address, Config, Context, Peer, Result, Server, ServerBuilder, ServerHandle, Status, Streaming,
};
use wawo_addon_test::{LineClient, LineProtocol};

pub(crate) use crate::support::echo::{
    Echo, EchoClient, EchoServer, RepeatRequest, Text, echo_service,
};

#[allow(
    missing_docs,
    unreachable_pub,
    unnameable_types,
    unused_qualifications,
    clippy::all
)]
pub(crate) mod echo {
    wawo::include_proto!("addon");
}

/// Does what each text asks for.
#[derive(Debug, Default, Clone)]
pub(crate) struct Parrot(pub(crate) Arc<Seen>);

/// The calls that a parrot has seen, and the signal that releases the calls it holds.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    counts: watch::Sender<Counts>,
    pub(crate) release: Notify,
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    /// Calls of `Say` that have begun.
    pub(crate) begun: usize,
    /// Calls of `Say` that were dropped before their end.
    pub(crate) dropped: usize,
    pub(crate) notes: usize,
}

impl Seen {
    /// Waits until a condition on the counts is true.
    pub(crate) async fn until(&self, is_so: impl Fn(&Counts) -> bool) {
        let mut counts = self.counts.subscribe();
        counts.wait_for(is_so).await.unwrap();
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }
}

/// Counts a call that is dropped before its end.
struct OnDrop(Arc<Seen>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.count(|counts| counts.dropped += 1);
    }
}

pub(crate) fn text(text: &str) -> Text {
    Text { text: text.into() }
}

pub(crate) fn repeat(text: &str, times: u32) -> RepeatRequest {
    let text = text.into();
    RepeatRequest { text, times }
}

impl Echo for Parrot {
    async fn say(&self, cx: Context, request: Text) -> Result<Text> {
        self.0.count(|counts| counts.begun += 1);
        let guard = OnDrop(self.0.clone());
        match request.text.as_str() {
            "hold" => self.0.release.notified().await,
            "wait" => std::future::pending().await,
            "metadata" => {
                let asked = cx.metadata("asked").unwrap_or("nothing").to_owned();
                cx.set_reply_metadata("answered", asked)?;
            }
            _ => {}
        }
        std::mem::forget(guard);
        match request.text.as_str() {
            "fail" => {
                let status = Status::failed_precondition("as asked");
                Err(status
                    .with_detail("type/a", vec![1, 2])
                    .with_metadata("why", "asked")?)
            }
            _ => Ok(request),
        }
    }

    async fn note(&self, _: Context, _: Text) {
        self.0.count(|counts| counts.notes += 1);
    }

    async fn repeat(&self, cx: Context, request: RepeatRequest) -> Result<Streaming<Text>> {
        cx.set_trailing_metadata("times", request.times.to_string())?;
        let items = (0..request.times).map(move |index| match request.text.as_str() {
            "fail" if index == 2 => Err(Status::data_loss("as asked")),
            _ => Ok(text(&request.text)),
        });
        Ok(Streaming::new(stream::iter(items)))
    }

    async fn join(&self, _: Context, mut requests: Streaming<Text>) -> Result<Text> {
        let mut all = String::new();
        while let Some(request) = requests.message().await? {
            all.push_str(&request.text);
        }
        Ok(text(&all))
    }

    async fn talk(&self, _: Context, requests: Streaming<Text>) -> Result<Streaming<Text>> {
        Ok(requests)
    }
}

/// The address that all sockets of these tests come from and go to.
pub(crate) const ADDRESS: &str = "tcp://192.0.2.1:9";

pub(crate) fn address() -> Address {
    ADDRESS.parse().unwrap()
}

/// A server of a parrot.
pub(crate) struct Host {
    pub(crate) server: Server,
    pub(crate) handle: ServerHandle,
    pub(crate) seen: Arc<Seen>,
}

/// A server with wawo's own protocol and that of lines.
pub(crate) fn builder(parrot: &Parrot) -> ServerBuilder {
    let echo = EchoServer::new(parrot.clone());
    Server::builder()
        .add_service(echo)
        .protocol(LineProtocol::default())
}

/// A server with these limits on each of its peers.
pub(crate) fn host(config: Config) -> Host {
    let parrot = Parrot::default();
    let server = builder(&parrot).config(config).build().unwrap();
    Host::of(server, parrot)
}

impl Host {
    pub(crate) fn of(server: Server, parrot: Parrot) -> Self {
        Self {
            handle: server.handle(),
            server,
            seen: parrot.0,
        }
    }

    pub(crate) fn socket(&self) -> DuplexStream {
        let (here, there) = tokio::io::duplex(64 * 1024);
        self.handle.accept_from(there, ADDRESS).unwrap();
        here
    }

    /// A client by lines, with the defaults of a configuration.
    pub(crate) fn lines(&self, name: &str) -> LineClient {
        LineClient::over(self.socket(), address(), name, Config::default())
    }

    /// A client by wawo's own protocol.
    pub(crate) async fn native(&self) -> Peer {
        Peer::builder("").connect_over(self.socket()).await.unwrap()
    }
}

/// A socket to which tests write lines by hand, on either side.
pub(crate) struct Wire(BufReader<DuplexStream>);

impl Wire {
    pub(crate) fn new(socket: DuplexStream) -> Self {
        Self(BufReader::new(socket))
    }

    pub(crate) async fn write(&mut self, lines: &str) {
        self.0.write_all(lines.as_bytes()).await.unwrap();
    }

    /// The next line, without its end; empty at the end of all.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    /// All that comes until the end.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).await.unwrap();
        rest
    }
}
