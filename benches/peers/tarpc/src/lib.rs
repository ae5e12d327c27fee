//! The echo service on tarpc.

use std::{
    convert::Infallible,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use futures_util::StreamExt as _;
use harness::{Framework, Load, MAX_MESSAGE_BYTES, Workload};
use tarpc::{
    client, context, serde_transport,
    server::{self, BaseChannel, Channel as _},
    tokio_serde::formats::Bincode,
    tokio_util::codec::{Framed, LengthDelimitedCodec},
};
use tokio::net::{TcpListener, TcpStream};

/// tarpc with bincode, over length-delimited frames on TCP.
#[derive(Debug)]
pub struct Tarpc;

impl Framework for Tarpc {
    const NAME: &'static str = "tarpc";
    const WORKLOADS: &'static [Workload] = &[Workload::Unary, Workload::Idle];

    async fn serve(addr: SocketAddr) -> Result<()> {
        let listener = TcpListener::bind(addr).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve_connection(stream));
        }
    }

    async fn load(addr: SocketAddr, load: Load) -> Result<Infallible> {
        let client = connect(addr).await?;
        load.closed_loop(move |payload| call(client.clone(), payload))
            .await
    }
}

/// The service, as tarpc defines it.
#[allow(missing_docs, clippy::use_self)]
mod service {
    use bytes::Bytes;

    #[tarpc::service]
    pub trait Echo {
        async fn echo(data: Bytes) -> Bytes;
    }
}

use self::service::{Echo as _, EchoClient, EchoRequest, EchoResponse};

#[derive(Clone)]
struct EchoService;

impl service::Echo for EchoService {
    async fn echo(self, _: context::Context, data: Bytes) -> Bytes {
        data
    }
}

async fn serve_connection(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let transport = serde_transport::new(framed(stream), Bincode::default());
    let config = server::Config {
        pending_response_buffer: PENDING_CALLS,
    };
    BaseChannel::<EchoRequest, EchoResponse, _>::new(config, transport)
        .execute(EchoService.serve())
        .for_each(async |call| drop(tokio::spawn(call)))
        .await;
    Ok(())
}

async fn connect(addr: SocketAddr) -> Result<EchoClient> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let transport = serde_transport::new(framed(stream), Bincode::default());
    let mut config = client::Config::default();
    config.max_in_flight_requests = PENDING_CALLS;
    config.pending_request_buffer = PENDING_CALLS;
    Ok(EchoClient::new(config, transport).spawn())
}

async fn call(client: EchoClient, data: Bytes) -> Result<usize> {
    let mut context = context::current();
    context.deadline = Instant::now() + CALL_TIMEOUT;
    Ok(client.echo(context, data).await?.len())
}

fn framed(stream: TcpStream) -> Framed<TcpStream, LengthDelimitedCodec> {
    LengthDelimitedCodec::builder()
        .max_frame_length(MAX_MESSAGE_BYTES)
        .new_framed(stream)
}

/// More than any workload has in flight on a connection.
const PENDING_CALLS: usize = 1 << 14;
/// No deadline must pass during a run.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
