//! The echo service on tonic.

use std::{convert::Infallible, iter, net::SocketAddr};

use anyhow::Result;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use harness::{Framework, Load, MAX_MESSAGE_BYTES, Workload, tls};
use tonic::{
    Request, Response, Status,
    transport::{
        Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
        server::TcpIncoming,
    },
};

use self::generated::{
    echo_client::EchoClient,
    echo_server::{Echo, EchoServer},
};

/// tonic with prost, over HTTP/2 on TCP.
#[derive(Debug)]
pub struct Tonic;

impl Framework for Tonic {
    const NAME: &'static str = "tonic";
    const WORKLOADS: &'static [Workload] = &[Workload::Unary, Workload::Stream, Workload::Idle];

    async fn serve(addr: SocketAddr) -> Result<()> {
        serve(Server::builder(), addr).await
    }

    async fn load(addr: SocketAddr, load: Load) -> Result<Infallible> {
        put(load, Endpoint::new(format!("http://{addr}"))?).await
    }
}

/// [`Tonic`] inside of TLS.
#[derive(Debug)]
pub struct TonicTls;

impl Framework for TonicTls {
    const NAME: &'static str = "tonic-tls";
    const WORKLOADS: &'static [Workload] = Tonic::WORKLOADS;

    async fn serve(addr: SocketAddr) -> Result<()> {
        let issued = tls::certificate(addr)?;
        let identity = Identity::from_pem(issued.certificate, issued.key);
        let tls = ServerTlsConfig::new().identity(identity);
        serve(Server::builder().tls_config(tls)?, addr).await
    }

    async fn load(addr: SocketAddr, load: Load) -> Result<Infallible> {
        let root = Certificate::from_pem(tls::trusted_root(addr)?);
        let tls = ClientTlsConfig::new().ca_certificate(root);
        let endpoint = Endpoint::new(format!("https://{addr}"))?;
        put(load, endpoint.tls_config(tls)?).await
    }

    fn clean_up(addr: SocketAddr) {
        tls::forget_root(addr);
    }
}

async fn serve(server: Server, addr: SocketAddr) -> Result<()> {
    let service = EchoServer::new(EchoService)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    server
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .add_service(service)
        .serve_with_incoming(TcpIncoming::bind(addr)?.with_nodelay(Some(true)))
        .await?;
    Ok(())
}

async fn put(load: Load, endpoint: Endpoint) -> Result<Infallible> {
    let client = connect(endpoint, load.inflight).await?;
    let size = load.size;
    match load.workload {
        Workload::Stream => load.streams(move || feed(client.clone(), size)).await,
        _ => {
            load.closed_loop(move |payload| echo(client.clone(), payload))
                .await
        }
    }
}

async fn connect(endpoint: Endpoint, inflight: usize) -> Result<EchoClient<Channel>> {
    let channel = endpoint
        .tcp_nodelay(true)
        .buffer_size(inflight.max(1024))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .connect()
        .await?;
    Ok(EchoClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES))
}

async fn echo(mut client: EchoClient<Channel>, data: Bytes) -> Result<usize> {
    Ok(client.echo(Message { data }).await?.into_inner().data.len())
}

async fn feed(
    mut client: EchoClient<Channel>,
    size: usize,
) -> Result<impl futures_util::Stream<Item = Result<usize>> + Send + 'static> {
    let items = client
        .feed(FeedRequest { size: size as u64 })
        .await?
        .into_inner();
    Ok(items
        .map_ok(|message| message.data.len())
        .map_err(anyhow::Error::from))
}

struct EchoService;

#[tonic::async_trait]
impl Echo for EchoService {
    type FeedStream = stream::BoxStream<'static, Result<Message, Status>>;

    async fn echo(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn feed(
        &self,
        request: Request<FeedRequest>,
    ) -> Result<Response<Self::FeedStream>, Status> {
        let size = usize::try_from(request.into_inner().size).unwrap_or(usize::MAX);
        let data = Bytes::from(vec![b'w'; size.min(MAX_MESSAGE_BYTES / 2)]);
        let items = iter::repeat_with(move || Ok(Message { data: data.clone() }));
        Ok(Response::new(stream::iter(items).boxed()))
    }
}

/// The echoed message, and an item of a feed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    /// The payload.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
}

/// Requests an endless stream.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct FeedRequest {
    /// The number of bytes in the payload of each item.
    #[prost(uint64, tag = "1")]
    pub size: u64,
}

#[allow(missing_docs, unnameable_types, unreachable_pub, unused_qualifications)]
#[allow(
    clippy::all,
    clippy::too_many_lines,
    clippy::use_self,
    clippy::wildcard_imports
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/peers.Echo.rs"));
}

/// Both windows hold everything that W5b has in flight on a connection, so nothing waits for
/// credit.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Large messages need few DATA frames; small ones are not affected.
const MAX_FRAME_BYTES: u32 = 1 << 20;
