//! The server under attack.

use std::sync::{Arc, LazyLock};

use tokio::{
    io::duplex,
    sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock},
    task::JoinHandle,
};
use wawo::{
    Config, ConfigBuilder, Peer, ServeError, Server, ServerBuilder, ServerConfig,
    ServerConfigBuilder, ServerHandle,
};

use crate::{
    honest::Honest,
    raw::Raw,
    service::{EchoServer, Keeper, Seen, Worker, messages::multiply::MultiplyServer},
};

/// A real server, and its observable state.
pub(crate) struct Target {
    way: Way,
    pub(crate) handle: ServerHandle,
    pub(crate) seen: Arc<Seen>,
    _turn: Option<Shared>,
}

enum Way {
    Memory(Box<Server>),
    Tcp(JoinHandle<Result<(), ServeError>>, String),
}

/// The turn of a test that measures the memory of the process: meanwhile no other test runs.
pub(crate) struct Alone(#[allow(dead_code, reason = "it is its drop that matters")] Write);

/// The turn that all other tests share.
struct Shared(#[allow(dead_code, reason = "it is its drop that matters")] Read);

type Write = OwnedRwLockWriteGuard<()>;
type Read = OwnedRwLockReadGuard<()>;

static TURN: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);

impl Alone {
    pub(crate) async fn take() -> Self {
        Self(TURN.clone().write_owned().await)
    }
}

impl Shared {
    async fn take() -> Self {
        Self(TURN.clone().read_owned().await)
    }
}

/// The capacity of a pipe in memory, per direction.
const PIPE_BYTES: usize = 64 * 1024;

/// Builds the service under test.
pub(crate) fn builder(config: impl Into<ServerConfig>) -> (ServerBuilder, Arc<Seen>) {
    let worker = Worker::default();
    let seen = worker.0.clone();
    let server = Server::builder().config(config);
    let server = server.add_service(EchoServer::new(worker));
    (server.add_service(MultiplyServer::new(Keeper)), seen)
}

/// A configuration changed by `change`.
pub(crate) fn config(change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Config {
    change(Config::builder()).build().unwrap()
}

/// A configuration of a server, changed by `change`.
pub(crate) fn of_server(
    change: impl FnOnce(ServerConfigBuilder) -> ServerConfigBuilder,
) -> ServerConfig {
    change(ServerConfig::builder()).build().unwrap()
}

impl Target {
    pub(crate) async fn memory(config: Config) -> Self {
        Self::in_memory(config, Some(Shared::take().await))
    }

    pub(crate) fn alone(config: Config, _turn: &Alone) -> Self {
        Self::in_memory(config, None)
    }

    /// Starts the server of a builder, while no other test runs.
    pub(crate) fn of(builder: ServerBuilder, seen: Arc<Seen>, _turn: &Alone) -> Self {
        Self::built(builder, seen, None)
    }

    /// Starts the server of a builder.
    pub(crate) async fn with(builder: ServerBuilder, seen: Arc<Seen>) -> Self {
        Self::built(builder, seen, Some(Shared::take().await))
    }

    fn in_memory(config: Config, turn: Option<Shared>) -> Self {
        let (builder, seen) = builder(config);
        Self::built(builder, seen, turn)
    }

    fn built(builder: ServerBuilder, seen: Arc<Seen>, turn: Option<Shared>) -> Self {
        let server = builder.build().expect("the configuration is valid");
        Self {
            handle: server.handle(),
            way: Way::Memory(Box::new(server)),
            seen,
            _turn: turn,
        }
    }

    pub(crate) async fn tcp(config: Config) -> Self {
        let (builder, seen) = builder(config);
        Self::tcp_with(builder, seen).await
    }

    pub(crate) async fn tcp_with(builder: ServerBuilder, seen: Arc<Seen>) -> Self {
        Self::listening(builder, seen, "tcp://127.0.0.1:0").await
    }

    /// Starts the server of a builder at an address.
    pub(crate) async fn listening(builder: ServerBuilder, seen: Arc<Seen>, address: &str) -> Self {
        let turn = Some(Shared::take().await);
        let server = builder.bind(address).await.unwrap();
        let (handle, address) = (server.handle(), server.addresses()[0].to_string());
        Self {
            way: Way::Tcp(tokio::spawn(server.run()), address),
            handle,
            seen,
            _turn: turn,
        }
    }

    /// Connects a peer that has sent nothing.
    pub(crate) async fn raw(&mut self) -> Raw {
        self.raw_through(PIPE_BYTES).await
    }

    /// Connects a peer that has sent nothing; in memory, behind a pipe of this size.
    pub(crate) async fn raw_through(&mut self, bytes: usize) -> Raw {
        match &mut self.way {
            Way::Memory(server) => {
                let (here, there) = duplex(bytes);
                let _ = server.accept_over(there).expect("valid");
                Raw::over_memory(here)
            }
            Way::Tcp(_, address) => Raw::over_tcp(address).await,
        }
    }

    /// Connects a peer that has sent nothing, from another address of this machine.
    #[cfg(target_os = "linux")]
    pub(crate) async fn raw_from(&self, from: &str) -> Raw {
        Raw::over_tcp_from(from, self.address()).await
    }

    /// Connects a peer and exchanges hellos.
    pub(crate) async fn greeted(&mut self) -> Raw {
        let mut raw = self.raw().await;
        raw.greet().await;
        raw
    }

    pub(crate) async fn honest(&mut self) -> Honest {
        Honest::start(self.connect().await, self.seen.clone()).await
    }

    /// Connects a peer that keeps all rules and does nothing yet.
    pub(crate) async fn connect(&mut self) -> Peer {
        match &mut self.way {
            Way::Memory(server) => {
                let (here, there) = duplex(PIPE_BYTES);
                let _ = server.accept_over(there).expect("valid");
                Peer::builder("").connect_over(here).await.unwrap()
            }
            Way::Tcp(_, address) => Peer::connect(address.clone()).await.unwrap(),
        }
    }

    /// The address of the server, if it listens.
    pub(crate) fn address(&self) -> &str {
        match &self.way {
            Way::Memory(_) => "",
            Way::Tcp(_, address) => address,
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Way::Tcp(running, _) = &self.way {
            running.abort();
        }
    }
}
