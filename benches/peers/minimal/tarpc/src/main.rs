//! A minimal server of tarpc.

use std::{future::ready, io};

use futures::StreamExt as _;
use tarpc::{
    context::Context,
    serde_transport::tcp,
    server::{BaseChannel, Channel as _},
    tokio_serde::formats::Bincode,
};

#[tarpc::service]
trait Echo {
    /// Returns its argument.
    async fn echo(text: String) -> String;
}

#[derive(Clone)]
struct EchoService;

impl Echo for EchoService {
    async fn echo(self, _: Context, text: String) -> String {
        text
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let connections = tcp::listen("127.0.0.1:4000", Bincode::default).await?;
    connections
        .filter_map(|connection| ready(connection.ok()))
        .for_each(async |connection| {
            let calls = BaseChannel::with_defaults(connection).execute(EchoService.serve());
            tokio::spawn(calls.for_each(async |call| drop(tokio::spawn(call))));
        })
        .await;
    Ok(())
}
