//! The echo service on wawo.

use std::{
    convert::Infallible, env, fs, future::pending, iter, net::SocketAddr,
    os::unix::net::UnixStream, path::PathBuf, time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream};
use harness::{Framework, Load, MAX_MESSAGE_BYTES, WORKER_THREADS, Workload, tls};
use tokio::sync::OnceCell;
use wawo::{
    Config, Context, Peer, PeerBuilder, Server, ServerBuilder, ServerConfig, Streaming,
    tls::{ClientTls, Pem, ServerTls},
};

use self::echo::{EchoClient, EchoServer, FeedRequest, Message};

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
#[allow(clippy::too_many_lines, clippy::use_self, clippy::wildcard_imports)]
mod echo {
    wawo::include_proto!("echo");
}

/// wawo with prost, over its own protocol on TCP.
#[derive(Debug)]
pub struct Wawo;

impl Framework for Wawo {
    const NAME: &'static str = "wawo";
    const WORKLOADS: &'static [Workload] = &[
        Workload::Unary,
        Workload::Stream,
        Workload::OneWay,
        Workload::Idle,
    ];

    async fn serve(addr: SocketAddr) -> Result<()> {
        serve(server(), &format!("tcp://{addr}")).await
    }

    async fn load(addr: SocketAddr, load: Load) -> Result<Infallible> {
        put(load, peer(format!("tcp://{addr}"))).await
    }
}

/// [`Wawo`] inside of TLS.
#[derive(Debug)]
pub struct WawoTls;

impl Framework for WawoTls {
    const NAME: &'static str = "wawo-tls";
    const WORKLOADS: &'static [Workload] = Wawo::WORKLOADS;

    async fn serve(addr: SocketAddr) -> Result<()> {
        let issued = tls::certificate(addr)?;
        let (certificate, key) = (Pem::bytes(issued.certificate), Pem::bytes(issued.key));
        let tls = ServerTls::builder().certificate(certificate, key).build()?;
        serve(server().tls(tls), &format!("tls://{addr}")).await
    }

    async fn load(addr: SocketAddr, load: Load) -> Result<Infallible> {
        let root = Pem::bytes(tls::trusted_root(addr)?);
        let tls = ClientTls::builder().roots(root).build()?;
        put(load, peer(format!("tls://{addr}")).tls(tls)).await
    }

    fn clean_up(addr: SocketAddr) {
        tls::forget_root(addr);
    }
}

/// [`Wawo`] on a Unix socket.
#[derive(Debug)]
pub struct WawoUnix;

impl Framework for WawoUnix {
    const NAME: &'static str = "wawo-unix";
    const WORKLOADS: &'static [Workload] = Wawo::WORKLOADS;

    async fn serve(addr: SocketAddr) -> Result<()> {
        serve(server(), &format!("unix://{}", socket_path(addr).display())).await
    }

    async fn load(addr: SocketAddr, load: Load) -> Result<Infallible> {
        let address = format!("unix://{}", socket_path(addr).display());
        put(load, peer(address)).await
    }

    fn is_listening(addr: SocketAddr) -> bool {
        UnixStream::connect(socket_path(addr)).is_ok()
    }

    fn clean_up(addr: SocketAddr) {
        // A server that failed to start has left nothing behind.
        let _ = fs::remove_file(socket_path(addr));
    }
}

/// [`Wawo`] with one thread per core: workers in the server, and one runtime per thread in the
/// client.
#[derive(Debug)]
pub struct WawoWorkers;

impl Framework for WawoWorkers {
    const NAME: &'static str = "wawo-workers";
    const WORKLOADS: &'static [Workload] = Wawo::WORKLOADS;
    const CLIENT_RUNTIMES: usize = WORKER_THREADS;

    async fn serve(addr: SocketAddr) -> Result<()> {
        let config = ServerConfig::builder().connection(config());
        let config = config.workers(Some(WORKER_THREADS)).build()?;
        serve(server().config(config), &format!("tcp://{addr}")).await
    }

    async fn load(addr: SocketAddr, load: Load) -> Result<Infallible> {
        put(load, peer(format!("tcp://{addr}"))).await
    }
}

/// [`Wawo`] over memory, with both ends in the client's process.
#[derive(Debug)]
pub struct WawoMemory;

impl Framework for WawoMemory {
    const NAME: &'static str = "wawo-memory";
    /// All except idle connections, whose memory would not be in the server's process.
    const WORKLOADS: &'static [Workload] = &[Workload::Unary, Workload::Stream, Workload::OneWay];

    /// The server's process does nothing.
    async fn serve(_addr: SocketAddr) -> Result<()> {
        pending().await
    }

    async fn load(_addr: SocketAddr, load: Load) -> Result<Infallible> {
        IN_MEMORY.get_or_try_init(serve_in_memory).await?;
        put(load, peer(MEMORY.to_owned())).await
    }

    fn is_listening(_addr: SocketAddr) -> bool {
        true
    }
}

const MEMORY: &str = "mem://echo";

/// Set when the client's process serves at [`MEMORY`].
static IN_MEMORY: OnceCell<()> = OnceCell::const_new();

async fn serve_in_memory() -> Result<()> {
    let server = server().bind(MEMORY).await?;
    tokio::spawn(server.run());
    Ok(())
}

/// A path that both processes can compute. The port, which no other process uses now, makes it
/// unique.
fn socket_path(addr: SocketAddr) -> PathBuf {
    env::temp_dir().join(format!("wawo-peer-{}.sock", addr.port()))
}

fn server() -> ServerBuilder {
    let server = Server::builder().config(config());
    server.add_service(EchoServer::new(EchoService))
}

async fn serve(server: ServerBuilder, address: &str) -> Result<()> {
    Ok(server.serve(address).await?)
}

fn peer(address: String) -> PeerBuilder {
    Peer::builder(address).config(config())
}

async fn put(load: Load, peer: PeerBuilder) -> Result<Infallible> {
    let client = EchoClient::new(&peer.connect().await?);
    let size = load.size;
    match load.workload {
        Workload::Stream => load.streams(move || feed(client.clone(), size)).await,
        Workload::OneWay => {
            load.one_way(move |payload| take(client.clone(), payload))
                .await
        }
        _ => {
            load.closed_loop(move |payload| echo(client.clone(), payload))
                .await
        }
    }
}

async fn echo(client: EchoClient, data: Bytes) -> Result<usize> {
    Ok(client.echo(Message { data }).await?.data.len())
}

async fn take(client: EchoClient, data: Bytes) -> Result<()> {
    Ok(client.take(Message { data }).await?)
}

async fn feed(
    client: EchoClient,
    size: usize,
) -> Result<impl futures_util::Stream<Item = Result<usize>> + Send + 'static> {
    // The stream is read for the whole run, which is longer than the default timeout.
    let items = client.feed(FeedRequest { size: size as u64 });
    let items = items.timeout(STREAM_TIMEOUT).await?;
    Ok(items
        .map_ok(|message| message.data.len())
        .map_err(anyhow::Error::from))
}

struct EchoService;

impl echo::Echo for EchoService {
    async fn echo(&self, _cx: Context, request: Message) -> wawo::Result<Message> {
        Ok(request)
    }

    async fn feed(&self, _cx: Context, request: FeedRequest) -> wawo::Result<Streaming<Message>> {
        let size = usize::try_from(request.size).unwrap_or(usize::MAX);
        let data = Bytes::from(vec![b'w'; size.min(MAX_MESSAGE_BYTES / 2)]);
        let items = iter::repeat_with(move || Ok(Message { data: data.clone() }));
        Ok(Streaming::new(stream::iter(items)))
    }

    async fn take(&self, _cx: Context, _request: Message) {}
}

/// The defaults, except for messages as large as the others allow, and W5b has as much credit as
/// tonic.
fn config() -> Config {
    let config = Config::builder().max_message_bytes(MAX_BYTES);
    let config = config.initial_credit_bytes(STREAM_CREDIT_BYTES).build();
    config.expect("constants in their ranges")
}

#[allow(clippy::cast_possible_truncation)]
const MAX_BYTES: u32 = MAX_MESSAGE_BYTES as u32;
const STREAM_CREDIT_BYTES: u32 = 4 << 20;
/// No deadline must pass during a run.
const STREAM_TIMEOUT: Duration = Duration::from_secs(600);
