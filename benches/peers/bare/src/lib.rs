//! A multiplexer with prost and nothing else: the minimum cost of RPC.
//!
//! Calls share a connection, and a reply finds its call by id. There are no names, deadlines,
//! metadata, cancellation, limits or credit, and a method is a number:
//!
//! ```text
//!  frame     length of the body (4 bytes), id (4), method (4), body: a prost message
//!  server    one task a connection; handlers run in place; one write for what one read brought
//!  client    callers append to one buffer under a mutex; one driver a connection lets all ready
//!            callers do so, then writes the buffer, and wakes callers when replies come
//! ```

mod client;
mod driver;
mod frame;
mod server;

use std::{convert::Infallible, net::SocketAddr};

use anyhow::Result;
use bytes::Bytes;
use harness::{Framework, Load, Workload};
use tokio::net::TcpListener;

/// The multiplexer.
#[derive(Debug)]
pub struct Bare;

impl Framework for Bare {
    const NAME: &'static str = "bare";
    const WORKLOADS: &'static [Workload] = &[
        Workload::Unary,
        Workload::OneWay,
        Workload::Stream,
        Workload::Idle,
    ];

    async fn serve(addr: SocketAddr) -> Result<()> {
        let listener = TcpListener::bind(addr).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(server::serve(stream));
        }
    }

    async fn load(addr: SocketAddr, load: Load) -> Result<Infallible> {
        let client = client::connect(addr).await?;
        match load.workload {
            Workload::OneWay => {
                load.one_way(move |data| {
                    let client = client.clone();
                    async move { client.take(Message { data }).await }
                })
                .await
            }
            Workload::Stream => {
                let size = load.size as u64;
                load.streams(move || {
                    let client = client.clone();
                    async move { Ok(client.feed(FeedRequest { size })) }
                })
                .await
            }
            _ => {
                load.closed_loop(move |data| {
                    let client = client.clone();
                    async move { Ok(client.echo(Message { data }).await?.data.len()) }
                })
                .await
            }
        }
    }
}

/// The echoed message, and an item of a feed.
#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(bytes = "bytes", tag = "1")]
    data: Bytes,
}

/// Requests an endless stream.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct FeedRequest {
    #[prost(uint64, tag = "1")]
    size: u64,
}
