//! A proxy for any service, without a schema: it sends every call on unchanged, in both directions.
//!
//! `cargo run --example proxy`

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;
use tower::{ServiceExt, service_fn};
use wawo::{Code, Context, OrStatus, Peer, PeerId, Request, Response, Result, Server};

use crate::chat::{
    Chat, ChatClient, ChatEvents, ChatEventsClient, ChatEventsServer, ChatServer, JoinReply,
    JoinRequest, Line, SayReply,
};

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod chat {
    wawo::include_proto!("chat.v1");
}

/// Connects to the backend once for each client, and has the client serve the calls of the backend.
#[derive(Clone)]
struct Proxy {
    backend: String,
    /// By the id of the client.
    connections: Arc<Mutex<HashMap<PeerId, Arc<OnceCell<Peer>>>>>,
}

impl Proxy {
    /// Sends a call on, with its messages, its metadata, and the time that it has left.
    async fn send_on(self, request: Request) -> Result<Response> {
        let client = request.peer().or_status(Code::Internal, "no client")?;
        let connections = self.connections.lock();
        let cell = connections
            .unwrap_or_else(PoisonError::into_inner)
            .entry(client.id())
            .or_default()
            .clone();
        let backend = cell.get_or_try_init(|| self.connect(client)).await?;
        backend.clone().oneshot(request).await
    }

    async fn connect(&self, client: Peer) -> Result<Peer> {
        let builder = Peer::builder(&self.backend).fallback(client.clone());
        let backend = builder.connect().await;
        let backend = backend.or_status(Code::Unavailable, "the backend is away")?;
        let connections = self.connections.clone();
        tokio::spawn(async move {
            client.closed().await;
            // It is the last handle of the connection to the backend, which ends with it.
            let connections = connections.lock();
            let mut connections = connections.unwrap_or_else(PoisonError::into_inner);
            connections.remove(&client.id());
        });
        Ok(backend)
    }
}

/// The backend, which calls its caller back, and the client. Neither knows of the proxy.
struct Parrot;

impl Chat for Parrot {
    async fn join(&self, _: Context, _: JoinRequest) -> Result<JoinReply> {
        Ok(JoinReply { members: 1 })
    }

    async fn say(&self, cx: Context, line: Line) -> Result<SayReply> {
        ChatEventsClient::new(&cx.peer()).on_line(line).await?;
        Ok(SayReply { listeners: 1 })
    }
}

impl ChatEvents for Parrot {
    async fn on_line(&self, _: Context, Line { author, text }: Line) {
        println!("{author}: {text}");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backend = Server::builder().add_service(ChatServer::new(Parrot));
    tokio::spawn(backend.bind("mem://backend").await?.run());
    let proxy = Proxy {
        backend: "mem://backend".to_owned(),
        connections: Arc::default(),
    };
    let fallback = service_fn(move |request| proxy.clone().send_on(request));
    let proxy = Server::builder().fallback(fallback);
    tokio::spawn(proxy.bind("mem://proxy").await?.run());
    let client = Peer::builder("mem://proxy").add_service(ChatEventsServer::new(Parrot));
    let chat = ChatClient::new(&client.connect().await?);
    let (author, text) = ("ada".into(), "through the proxy, and back".into());
    let reply = chat.say(Line { author, text }).await?;
    println!("{} heard it", reply.listeners);
    Ok(())
}
