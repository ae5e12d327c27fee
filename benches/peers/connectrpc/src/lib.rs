//! The echo service on connectrpc.

use std::{convert::Infallible, iter, net::SocketAddr, sync::Arc};

use ::connectrpc::{
    ConnectError, Limits, RequestContext, Response, Router, Server, ServiceRequest, ServiceResult,
    ServiceStream,
    client::{ClientConfig, Http2Connection, SharedHttp2Connection},
};
use anyhow::{Result, anyhow};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};
use harness::{Framework, Load, MAX_MESSAGE_BYTES, Workload};

use self::generated::peers::{Echo, EchoClient, FeedRequest, Message};

#[allow(missing_docs, unnameable_types, unreachable_pub, unused_qualifications)]
#[allow(elided_lifetimes_in_paths, missing_debug_implementations)]
#[allow(clippy::all, clippy::use_self, clippy::wildcard_imports)]
mod generated {
    connectrpc::include_generated!();
}

/// connectrpc with buffa, in the Connect protocol over HTTP/2 on TCP.
#[derive(Debug)]
pub struct ConnectRpc;

impl Framework for ConnectRpc {
    const NAME: &'static str = "connectrpc";
    const WORKLOADS: &'static [Workload] = &[Workload::Unary, Workload::Stream, Workload::Idle];

    async fn serve(addr: SocketAddr) -> Result<()> {
        let limits = Limits::default()
            .with_max_request_body_size(MAX_MESSAGE_BYTES)
            .with_max_message_size(MAX_MESSAGE_BYTES);
        Server::new(Router::new().add_service(Arc::new(EchoService)))
            .with_limits(limits)
            .with_http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .with_http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .serve(addr)
            .await
            .map_err(|error| anyhow!(error))
    }

    async fn load(addr: SocketAddr, load: Load) -> Result<Infallible> {
        let client = connect(addr, load.inflight).await?;
        let size = load.size as u64;
        match load.workload {
            Workload::Stream => load.streams(move || feed(client.clone(), size)).await,
            _ => {
                load.closed_loop(move |payload| echo(client.clone(), payload))
                    .await
            }
        }
    }
}

type Client = EchoClient<SharedHttp2Connection>;

async fn connect(addr: SocketAddr, inflight: usize) -> Result<Client> {
    let uri: http::Uri = format!("http://{addr}").parse()?;
    let connection = Http2Connection::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .h2_settings(|http2| {
            http2.max_frame_size(MAX_FRAME_BYTES);
        })
        .connect_plaintext(uri.clone())
        .await?;
    let config = ClientConfig::new(uri).with_default_max_message_size(MAX_MESSAGE_BYTES);
    Ok(EchoClient::new(
        connection.shared(inflight.max(1024)),
        config,
    ))
}

async fn echo(client: Client, data: Bytes) -> Result<usize> {
    let reply = client.echo(message(data)).await?;
    Ok(reply.view().data.len())
}

async fn feed(
    client: Client,
    size: u64,
) -> Result<impl Stream<Item = Result<usize>> + Send + 'static> {
    let request = FeedRequest {
        size,
        ..FeedRequest::default()
    };
    let items = client.feed(request).await?;
    let items = stream::try_unfold(items, async |mut items| {
        let item = items.message().await?;
        Ok(item.map(|message| (message.view().data.len(), items)))
    });
    Ok(items.map_err(|error: ConnectError| error.into()))
}

struct EchoService;

#[allow(refining_impl_trait, reason = "nobody but this crate calls it")]
impl Echo for EchoService {
    async fn echo(
        &self,
        _cx: RequestContext,
        request: ServiceRequest<'_, Message>,
    ) -> ServiceResult<Message> {
        Response::ok(request.to_owned_message())
    }

    async fn feed(
        &self,
        _cx: RequestContext,
        request: ServiceRequest<'_, FeedRequest>,
    ) -> ServiceResult<ServiceStream<Message>> {
        let size = usize::try_from(request.size).unwrap_or(usize::MAX);
        let item = message(Bytes::from(vec![b'w'; size.min(MAX_MESSAGE_BYTES / 2)]));
        Response::stream_ok(stream::iter(iter::repeat_with(move || Ok(item.clone()))))
    }
}

fn message(data: Bytes) -> Message {
    Message {
        data,
        ..Message::default()
    }
}

/// Both windows hold everything that W5b has in flight on a connection, so nothing waits for
/// credit.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Large messages need few DATA frames. The server has no such setting.
const MAX_FRAME_BYTES: u32 = 1 << 20;
