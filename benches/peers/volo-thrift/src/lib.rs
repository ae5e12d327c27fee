//! The echo service on volo-thrift.

mod message;

use std::{convert::Infallible, net::SocketAddr};

use ::volo_thrift::{
    ServerError,
    client::{Client, ClientBuilder},
    context::{CLIENT_CONTEXT_CACHE, ClientContext, ServerContext},
    server::Server,
};
use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use harness::{Framework, Load, Workload};
use volo::{
    client::MkClient,
    net::Address,
    service::{BoxCloneService, Service},
};

use self::message::{Reply, Request};

/// volo-thrift in multiplex mode, TTHeader over framed binary on TCP.
#[derive(Debug)]
pub struct VoloThrift;

impl Framework for VoloThrift {
    const NAME: &'static str = "volo-thrift";
    const WORKLOADS: &'static [Workload] = &[Workload::Unary, Workload::OneWay, Workload::Idle];

    async fn serve(addr: SocketAddr) -> Result<()> {
        Server::new(EchoService)
            .multiplex(true)
            .run(Address::from(addr))
            .await
            .map_err(|error| anyhow!(error))
    }

    async fn load(addr: SocketAddr, load: Load) -> Result<Infallible> {
        let client = ClientBuilder::new("echo", Build)
            .multiplex(true)
            .address(addr)
            .build();
        // The first call opens the connection, before many calls need it.
        echo(client.clone(), Bytes::new()).await?;
        match load.workload {
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
}

type EchoClient =
    Client<BoxCloneService<ClientContext, Request, Option<Reply>, volo_thrift::ClientError>>;

/// The builder requires a type that wraps its client in a stub; here the client itself suffices.
struct Build;

impl MkClient<EchoClient> for Build {
    type Target = EchoClient;

    fn mk_client(&self, client: EchoClient) -> EchoClient {
        client
    }
}

async fn echo(client: EchoClient, data: Bytes) -> Result<usize> {
    let reply = call(&client, "echo", Request::Echo(data)).await?;
    Ok(reply.context("no reply")?.0.len())
}

async fn take(client: EchoClient, data: Bytes) -> Result<()> {
    call(&client, "take", Request::Take(data)).await?;
    Ok(())
}

/// Makes a call like a generated stub, with its cache of contexts.
async fn call(
    client: &EchoClient,
    method: &'static str,
    request: Request,
) -> Result<Option<Reply>> {
    let is_one_way = matches!(request, Request::Take(_));
    let mut context = client.make_cx(method, is_one_way);
    let reply = client.call(&mut context, request).await?;
    CLIENT_CONTEXT_CACHE.with(|cache| {
        let mut cache = cache.borrow_mut();
        if cache.len() < cache.capacity() {
            cache.push(context);
        }
    });
    Ok(reply)
}

#[derive(Clone)]
struct EchoService;

impl Service<ServerContext, Request> for EchoService {
    type Response = Reply;
    type Error = ServerError;

    async fn call(&self, _cx: &mut ServerContext, request: Request) -> Result<Reply, ServerError> {
        // volo sends no reply to a one-way call, whatever the handler returns.
        Ok(Reply(match request {
            Request::Echo(data) => data,
            Request::Take(_) => Bytes::new(),
        }))
    }
}
