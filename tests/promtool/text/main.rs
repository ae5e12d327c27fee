//! Prints the text of metrics after a few calls, in the format `prometheus` or `openmetrics`: scripts/interop
//! gives it to the parsers of collectors.

#![allow(clippy::print_stdout, reason = "scripts/interop reads the text")]

use std::{env, error::Error};

use futures::stream;
use wawo::{Context, Metrics, Peer, Result, Server, Status, Streaming};
use wawo_test_protos::tests::echo::{Echo, EchoClient, EchoServer, Message, RepeatRequest};

struct Parrot;

impl Echo for Parrot {
    async fn say(&self, _: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn act(&self, _: Context, _: Message) -> Result<Message> {
        Err(Status::unavailable("as asked"))
    }

    async fn note(&self, _: Context, _: Message) {}

    async fn repeat(&self, _: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let reply = Message { data: request.data };
        let replies = (0..request.times).map(move |_| Ok(reply.clone()));
        Ok(Streaming::new(stream::iter(replies)))
    }

    async fn join(&self, _: Context, _: Streaming<Message>) -> Result<Message> {
        Ok(Message::default())
    }

    async fn talk(&self, _: Context, messages: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(messages)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let metrics = Metrics::new();
    let server = Server::builder().add_service(EchoServer::new(Parrot));
    let server = server.metrics(&metrics).bind("tcp://127.0.0.1:0").await?;
    let address = server.addresses()[0].to_string();
    let handle = server.handle();
    tokio::spawn(server.run());
    let peer = Peer::builder(&*address).metrics(&metrics).connect().await?;

    let stub = EchoClient::new(&peer);
    stub.say(Message::default()).await?;
    let _unavailable = stub.act(Message::default()).await;
    let repeat = RepeatRequest {
        data: "again".into(),
        times: 3,
    };
    let mut replies = stub.repeat(repeat).await?;
    while replies.message().await?.is_some() {}
    // The peer serves nothing, so this call has no name there.
    for peer in handle.peers() {
        let _unimplemented = EchoClient::new(&peer).say(Message::default()).await;
    }
    match env::args().nth(1).as_deref() {
        None | Some("prometheus") => print!("{}", metrics.to_prometheus()),
        Some("openmetrics") => print!("{}", metrics.to_openmetrics()),
        Some(_) => return Err("name a format: prometheus or openmetrics".into()),
    }
    Ok(())
}
