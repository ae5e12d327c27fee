//! The echo service on ttrpc.

use std::{convert::Infallible, future::pending, net::SocketAddr, sync::Arc};

use anyhow::Result;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};
use harness::{Framework, Load, MAX_MESSAGE_BYTES, Workload};
use tokio::net::{TcpListener, TcpStream};
use ttrpc::{
    asynchronous::{
        Client, Server, ServerStreamSender, TtrpcContext,
        transport::{Listener, Socket},
    },
    context,
};

use self::generated::{
    echo::{FeedRequest, Message},
    echo_ttrpc::{Echo, EchoClient, create_echo},
};

#[allow(missing_docs, unnameable_types, unreachable_pub, unused_qualifications)]
#[allow(
    clippy::all,
    clippy::unwrap_used,
    clippy::use_self,
    clippy::wildcard_imports
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/modules.rs"));
}

/// ttrpc with rust-protobuf, over its own protocol on TCP.
#[derive(Debug)]
pub struct Ttrpc;

impl Framework for Ttrpc {
    const NAME: &'static str = "ttrpc";
    const WORKLOADS: &'static [Workload] = &[Workload::Unary, Workload::Stream, Workload::Idle];

    async fn serve(addr: SocketAddr) -> Result<()> {
        let listener = TcpListener::bind(addr).await?;
        // ttrpc's own listener leaves TCP_NODELAY off.
        let sockets = stream::try_unfold(listener, async |listener| {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            Ok(Some((socket, listener)))
        });
        let mut server = Server::new()
            .add_listener(Listener::new(sockets))
            .register_service(create_echo(Arc::new(EchoService)));
        server.start().await?;
        pending().await
    }

    async fn load(addr: SocketAddr, load: Load) -> Result<Infallible> {
        let socket = TcpStream::connect(addr).await?;
        socket.set_nodelay(true)?;
        let client = EchoClient::new(Client::new(Socket::new(socket)));
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

async fn echo(client: EchoClient, data: Bytes) -> Result<usize> {
    let request = message(data);
    let reply = client.echo(context::Context::default(), &request).await?;
    Ok(reply.data.len())
}

async fn feed(
    client: EchoClient,
    size: u64,
) -> Result<impl Stream<Item = Result<usize>> + Send + 'static> {
    let mut request = FeedRequest::new();
    request.size = size;
    let items = client.feed(context::Context::default(), &request).await?;
    let items = stream::try_unfold(items, async |mut items| {
        let item = items.recv().await?;
        Ok(item.map(|message| (message.data.len(), items)))
    });
    Ok(items.map_err(|error: ttrpc::Error| error.into()))
}

struct EchoService;

#[async_trait]
impl Echo for EchoService {
    async fn echo(&self, _cx: &TtrpcContext, request: Message) -> ttrpc::Result<Message> {
        Ok(request)
    }

    async fn feed(
        &self,
        _cx: &TtrpcContext,
        request: FeedRequest,
        items: ServerStreamSender<Message>,
    ) -> ttrpc::Result<()> {
        let size = usize::try_from(request.size).unwrap_or(usize::MAX);
        let item = message(Bytes::from(vec![b'w'; size.min(MAX_MESSAGE_BYTES / 2)]));
        loop {
            items.send(&item).await?;
        }
    }
}

fn message(data: Bytes) -> Message {
    let mut message = Message::new();
    message.data = data;
    message
}
