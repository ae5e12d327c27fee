//! The echo service on capnp-rpc.

mod stub;

use std::{convert::Infallible, net::SocketAddr, sync::LazyLock};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use capnp::{Word, capability::Client, data, message::ReaderOptions};
use capnp_rpc::{RpcSystem, rpc_twoparty_capnp::Side, twoparty::VatNetwork};
use futures_util::io::{BufReader, BufWriter};
use harness::{Framework, Load, MAX_MESSAGE_BYTES, WORKER_THREADS, Workload};
use tokio::{
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    task::spawn_local,
};
use tokio_util::{
    compat::{Compat, TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _},
    task::LocalPoolHandle,
};

use self::stub::{Echo, EchoRequest, echo_request};

/// capnp-rpc over its two-party network on TCP.
#[derive(Debug)]
pub struct Capnp;

impl Framework for Capnp {
    const NAME: &'static str = "capnp-rpc";
    const WORKLOADS: &'static [Workload] = &[Workload::Unary, Workload::Idle];

    async fn serve(addr: SocketAddr) -> Result<()> {
        let listener = TcpListener::bind(addr).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            // Takes the socket off this runtime. Otherwise each readiness would come from another
            // thread.
            let stream = stream.into_std()?;
            THREADS.spawn_pinned(move || serve_connection(stream));
        }
    }

    async fn load(addr: SocketAddr, load: Load) -> Result<Infallible> {
        THREADS
            .spawn_pinned(move || load_connection(addr, load))
            .await
            .context("a connection panicked")?
    }
}

/// A connection must stay on its thread, so connections are spread over these threads.
static THREADS: LazyLock<LocalPoolHandle> = LazyLock::new(|| LocalPoolHandle::new(WORKER_THREADS));

async fn serve_connection(stream: std::net::TcpStream) -> Result<()> {
    let network = network(TcpStream::from_std(stream)?, Side::Server)?;
    let bootstrap = capnp_rpc::new_client(Echo);
    Ok(RpcSystem::new(network, Some(bootstrap)).await?)
}

async fn load_connection(addr: SocketAddr, load: Load) -> Result<Infallible> {
    let network = network(TcpStream::connect(addr).await?, Side::Client)?;
    let mut system = RpcSystem::new(network, None);
    let client: Client = system.bootstrap(Side::Server);
    // If it ends, calls fail with the reason.
    spawn_local(system);
    load.closed_loop_local(move |payload| echo(echo_request(&client), payload))
        .await
}

async fn echo(mut request: EchoRequest, data: Bytes) -> Result<usize> {
    request.set(&data)?;
    let response = request.send().promise.await?;
    let data: data::Reader<'_> = response.get()?.get_as()?;
    Ok(data.len())
}

type Network = VatNetwork<BufReader<Compat<OwnedReadHalf>>>;

/// Uses buffers, as the documentation of [`VatNetwork`] advises. The write buffer only joins the
/// segments of a message, because each message is flushed.
fn network(stream: TcpStream, side: Side) -> Result<Box<Network>> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let reader = BufReader::new(reader.compat());
    let writer = BufWriter::new(writer.compat_write());
    Ok(Box::new(VatNetwork::new(
        reader,
        writer,
        side,
        READER_OPTIONS,
    )))
}

/// Twice the largest message, because bytes that are read twice count twice.
const READER_OPTIONS: ReaderOptions = ReaderOptions {
    traversal_limit_in_words: Some(2 * MAX_MESSAGE_BYTES / size_of::<Word>()),
    ..ReaderOptions::new()
};
