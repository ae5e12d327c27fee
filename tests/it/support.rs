//! The service under test, and ways to connect to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use tokio::{io::DuplexStream, sync::Notify, task::JoinHandle};
use wawo::{
    Config, Context, Peer, Result, Server, ServerConfig, ServerConfigBuilder, Status, Streaming,
};
pub(crate) use wawo_test_protos::tests::echo::{
    self, Echo, EchoClient, EchoServer, Message, RepeatRequest, echo_service,
};

/// The observable state of a running [`Echo`] service.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The number of handlers of `act` that have begun.
    pub(crate) begun: AtomicUsize,
    /// The number of handlers of `act` that were dropped before their end.
    pub(crate) dropped: AtomicUsize,
    /// Notified when a handler is dropped or a one-way message has come.
    pub(crate) changed: Notify,
    /// The number of one-way messages that have come.
    pub(crate) notes: AtomicUsize,
    /// Releases handlers of `act` that hold.
    pub(crate) release: Notify,
}

impl Seen {
    /// Waits until a condition on this state is true.
    pub(crate) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if is_so(self) {
                return;
            }
            changed.await;
        }
    }
}

/// Does what each message asks for.
#[derive(Debug, Default, Clone)]
pub(crate) struct Parrot(pub(crate) Arc<Seen>);

pub(crate) fn message(data: impl Into<Bytes>) -> Message {
    Message { data: data.into() }
}

impl Echo for Parrot {
    async fn say(&self, _cx: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn act(&self, cx: Context, request: Message) -> Result<Message> {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
        let guard = OnDrop(self.0.clone());
        let result = self.perform(&cx, &request.data).await;
        std::mem::forget(guard);
        result
    }

    async fn note(&self, _cx: Context, message: Message) {
        if message.data == "wait" {
            self.0.release.notified().await;
        }
        self.0.notes.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }

    async fn repeat(&self, _cx: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let items = (0..request.times).map(move |_| match &request.data {
            data if data == "panic" => panic!("as asked"),
            data => Ok(message(data.clone())),
        });
        Ok(Streaming::new(stream::iter(items)))
    }

    async fn join(&self, _cx: Context, mut requests: Streaming<Message>) -> Result<Message> {
        let mut all = Vec::new();
        while let Some(message) = requests.message().await? {
            all.extend_from_slice(&message.data);
        }
        Ok(message(all))
    }

    async fn talk(&self, _cx: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(requests)
    }
}

impl Parrot {
    async fn perform(&self, cx: &Context, what: &[u8]) -> Result<Message> {
        match what {
            b"panic" => panic!("as asked"),
            b"yield and panic" => {
                tokio::task::yield_now().await;
                panic!("as asked")
            }
            b"fail" => {
                return Err(Status::failed_precondition("as asked").with_detail("type/a", vec![1]));
            }
            b"yield" => tokio::task::yield_now().await,
            b"hold" => self.0.release.notified().await,
            b"until draining" => cx.peer().draining().await,
            b"hold until draining" => {
                self.0.release.notified().await;
                cx.peer().draining().await;
            }
            b"wait" => std::future::pending::<()>().await,
            b"sleep" => tokio::time::sleep(Duration::from_secs(5)).await,
            b"call back" => {
                return EchoClient::new(&cx.peer()).say(message("back")).await;
            }
            b"leak" => {
                let inner = EchoClient::new(&cx.peer()).act(message("fail")).await?;
                return Ok(inner);
            }
            b"forward" => {
                let inner = EchoClient::new(&cx.peer()).act(message("fail")).await;
                return inner.map_err(Status::forward);
            }
            b"metadata" => {
                let asked = cx.metadata("asked").unwrap_or("nothing").to_owned();
                cx.set_reply_metadata("answered", asked)?;
            }
            b"deadline" => {
                let left = cx.time_left().map_or(u128::MAX, |left| left.as_millis());
                return Ok(message(left.to_string()));
            }
            _ => {}
        }
        Ok(message(what.to_vec()))
    }
}

struct OnDrop(Arc<Seen>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Running(JoinHandle<Result<(), wawo::ServeError>>);

impl Running {
    pub(crate) fn spawn(server: Server) -> Self {
        Self(tokio::spawn(server.run()))
    }

    /// Ends the server, and waits until it has ended.
    pub(crate) async fn stop(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves a parrot at an address; returns the address for clients.
pub(crate) async fn serve(address: &str) -> (Running, String, Arc<Seen>) {
    serve_with(address, Config::default()).await
}

pub(crate) async fn serve_with(address: &str, config: Config) -> (Running, String, Arc<Seen>) {
    let parrot = Parrot::default();
    let seen = parrot.0.clone();
    let server = Server::builder()
        .config(config)
        .add_service(EchoServer::new(parrot));
    let server = server.bind(address).await.expect("the address is free");
    let address = server.addresses()[0].to_string();
    (Running(tokio::spawn(server.run())), address, seen)
}

/// Both ends of one connection in memory, each serving a parrot to the other.
pub(crate) struct Pair {
    /// Keeps the accepting side going.
    pub(crate) server: Server,
    /// The accepting side, as the connecting one sees it.
    pub(crate) to_server: Peer,
    /// The connecting side, as the accepting one sees it.
    pub(crate) to_client: Peer,
    /// The state of the accepting side's service.
    pub(crate) at_server: Arc<Seen>,
    /// The state of the connecting side's service.
    #[allow(dead_code, reason = "the other half of the pair")]
    pub(crate) at_client: Arc<Seen>,
}

/// A configuration of a server, changed by `change`.
pub(crate) fn of_server(
    change: impl FnOnce(ServerConfigBuilder) -> ServerConfigBuilder,
) -> ServerConfig {
    change(ServerConfig::builder()).build().unwrap()
}

pub(crate) async fn pair() -> Pair {
    pair_with(Config::default(), Config::default()).await
}

pub(crate) async fn pair_with(at_client: Config, at_server: Config) -> Pair {
    let (here, there) = tokio::io::duplex(64 * 1024);
    pair_over(here, there, at_client, at_server).await
}

pub(crate) async fn pair_over(
    here: DuplexStream,
    there: DuplexStream,
    client: Config,
    server: Config,
) -> Pair {
    let (at_client, at_server) = (Parrot::default(), Parrot::default());
    let (seen_at_client, seen_at_server) = (at_client.0.clone(), at_server.0.clone());
    let mut server = Server::builder()
        .config(server)
        .add_service(EchoServer::new(at_server))
        .build()
        .expect("the configuration is valid");
    let to_client = server.accept_over(there).expect("valid");
    let to_server = Peer::builder("")
        .config(client)
        .add_service(EchoServer::new(at_client))
        .connect_over(here)
        .await
        .expect("the other end is a wawo server");
    Pair {
        server,
        to_server,
        to_client,
        at_server: seen_at_server,
        at_client: seen_at_client,
    }
}

/// Connects a client to a server over memory. The server keeps the connection for its lifetime.
pub(crate) async fn client_of(server: &mut Server) -> Peer {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let _ = server
        .accept_over(there)
        .expect("the configuration is valid");
    let peer = Peer::builder("").connect_over(here).await;
    peer.expect("the other end is a wawo server")
}
