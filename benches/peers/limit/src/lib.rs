//! Length-prefixed echo without RPC: what sockets, tokio and this machine can do.
//!
//! A connection starts with a preamble: mode (1 byte) and payload size (4 bytes). A frame is a
//! length (4 bytes) and a payload. There are no ids, no tasks per call, no codec:
//!
//! | mode    | client                                       | server                          |
//! |---------|----------------------------------------------|---------------------------------|
//! | unary   | keeps `inflight` frames in the air           | answers a whole read, one write |
//! | one_way | writes blocks of frames                      | reads and drops                 |
//! | stream  | reads and counts                             | writes blocks of frames         |

mod client;
mod frames;
mod server;

use std::{convert::Infallible, net::SocketAddr};

use anyhow::Result;
use harness::{Framework, Load, Workload};
use tokio::net::TcpListener;

/// The limit.
#[derive(Debug)]
pub struct Limit;

impl Framework for Limit {
    const NAME: &'static str = "limit";
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
        client::run(addr, load).await
    }
}
