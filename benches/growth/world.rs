//! A server with an echo service, and the ways to connect to it.

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};
use tower::Layer;
use wawo::{
    CallService, Config, Context, Dispatch, Peer, Result, ServeError, Server, ServerBuilder,
    ServerConfig, Status, Streaming,
};

use crate::{
    echo::{Echo, EchoClient, EchoServer, Message, RepeatRequest},
    process,
    table::Table,
};

/// A runtime on the calling thread.
pub(crate) fn one_thread() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// An echo service.
#[derive(Debug)]
pub(crate) struct Parrot;

impl Echo for Parrot {
    async fn say(&self, _cx: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn act(&self, _cx: Context, _: Message) -> Result<Message> {
        Err(Status::unimplemented("not measured"))
    }

    async fn note(&self, _cx: Context, _: Message) {}

    async fn repeat(&self, _cx: Context, _: RepeatRequest) -> Result<Streaming<Message>> {
        Err(Status::unimplemented("not measured"))
    }

    async fn join(&self, _cx: Context, _: Streaming<Message>) -> Result<Message> {
        Err(Status::unimplemented("not measured"))
    }

    async fn talk(&self, _cx: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(requests)
    }
}

/// A server with one service.
pub(crate) fn parrot() -> ServerBuilder {
    Server::builder().add_service(EchoServer::new(Parrot))
}

/// One end of a connection in memory, and the server at the other end.
pub(crate) async fn over_memory<L>(server: ServerBuilder<L>) -> (Peer, Server)
where
    L: Layer<Dispatch, Service: CallService>,
{
    let mut server = server.build().expect("valid settings");
    let peer = connect(&mut server).await;
    (peer, server)
}

/// Connects to a server over memory once more.
pub(crate) async fn connect(server: &mut Server) -> Peer {
    let (here, there) = tokio::io::duplex(256 * 1024);
    let _ = server.accept_over(there).expect("valid settings");
    let peer = Peer::builder("").connect_over(here).await;
    peer.expect("a server")
}

/// A server at a local port, which runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    address: String,
    config: Config,
    run: JoinHandle<Result<(), ServeError>>,
}

impl Listening {
    /// Starts a server with one service. Its peers have the same settings.
    pub(crate) async fn start(config: Config) -> Self {
        let of_server = ServerConfig::builder().max_connections(usize::MAX);
        let of_server = of_server.connection(config.clone()).build();
        let server = parrot().config(of_server.expect("settings in their ranges"));
        let server = server.bind("tcp://127.0.0.1:0").await.expect("a port");
        Self {
            address: server.addresses()[0].to_string(),
            config,
            run: tokio::spawn(server.run()),
        }
    }

    pub(crate) async fn connect(&self) -> EchoClient {
        let peer = Peer::builder(&self.address).config(self.config.clone());
        EchoClient::new(&peer.connect().await.expect("a server that listens"))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.run.abort();
    }
}

/// The points of an axis of connections that the limit of open files allows.
pub(crate) fn within_file_limit(points: &[usize]) -> Vec<usize> {
    let max = process::max_connections();
    let mut points: Vec<_> = points.iter().map(|&point| point.min(max)).collect();
    points.dedup();
    points
}

/// Adds a note on the points that the limit of open files does not allow.
pub(crate) fn note_file_limit(table: &mut Table, last: usize) {
    let max = process::max_connections();
    if last > max {
        table.note(format!(
            "The limit of open files allows {max} connections, each with both ends here."
        ));
    }
}
