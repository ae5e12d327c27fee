//! Calls that handlers make while all slots of their peer are taken.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::future::join_all;
use tokio::time::Instant;
use wawo::{Channel, Config, Context, Peer, Result, Server, Streaming};

use crate::support::{Echo, EchoClient, EchoServer, Message, RepeatRequest, message};

/// `act` calls the next node in the ring, as many hops as the request has bytes. It replies with an
/// error text, or with an empty text.
#[derive(Debug, Default, Clone)]
struct Node(Arc<OnceLock<EchoClient>>);

impl Echo for Node {
    async fn say(&self, _: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn act(&self, _: Context, request: Message) -> Result<Message> {
        // All callers begin before anybody calls on.
        tokio::time::sleep(Duration::from_millis(1)).await;
        match (request.data.len(), self.0.get()) {
            (0, _) | (_, None) => Ok(message("")),
            (more, Some(next)) => match next.act(message(vec![0; more - 1])).await {
                Ok(reply) => Ok(reply),
                Err(status) => Ok(message(format!("{:?}, {status}", status.delivery()))),
            },
        }
    }

    async fn note(&self, _: Context, _: Message) {}

    async fn repeat(&self, _: Context, _: RepeatRequest) -> Result<Streaming<Message>> {
        Ok(Streaming::empty())
    }

    async fn join(&self, _: Context, _: Streaming<Message>) -> Result<Message> {
        Ok(message(""))
    }

    async fn talk(&self, _: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(requests)
    }
}

fn few() -> Config {
    Config::builder().max_calls(64).build().unwrap()
}

/// Three servers, each of which is a client of the next.
async fn ring(name: &str) -> Vec<EchoClient> {
    ring_of(name, Config::default(), |peer| EchoClient::new(&peer)).await
}

async fn ring_of(name: &str, config: Config, client_of: fn(Peer) -> EchoClient) -> Vec<EchoClient> {
    let nodes: Vec<_> = (0..3).map(|_| Node::default()).collect();
    let mut clients = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let address = format!("mem://{name}_{index}");
        let service = EchoServer::new(nodes[(index + 1) % 3].clone());
        let server = Server::builder().config(few()).add_service(service);
        let server = server.bind(&address).await.unwrap();
        tokio::spawn(server.run());
        let peer = Peer::builder(&address).config(config.clone());
        let client = client_of(peer.connect().await.unwrap());
        node.0.set(client.clone()).unwrap();
        clients.push(client);
    }
    clients
}

/// Makes 200 calls from each node to the next, each through the given number of further handlers;
/// returns the replies.
async fn calls_through(clients: Vec<EchoClient>, handlers: usize) -> Vec<String> {
    let begin = Instant::now();
    let one = |client: &EchoClient| {
        let call = client.act(message(vec![0; handlers]));
        tokio::spawn(IntoFuture::into_future(call))
    };
    let calls = clients
        .iter()
        .flat_map(|client| (0..200).map(move |_| one(client)));
    let calls: Vec<_> = calls.collect();
    let mut answers = Vec::new();
    for call in join_all(calls).await {
        let answer = call.unwrap().unwrap().data;
        answers.push(String::from_utf8_lossy(&answer).into_owned());
    }
    // No call waited for a deadline.
    let time = begin.elapsed();
    assert!(time < Duration::from_secs(1), "{time:?}");
    answers
}

/// Each peer is called more often than it has slots, and all handlers call on.
#[tokio::test(start_paused = true)]
async fn calls_around_a_ring_of_peers_wait_for_slots_and_never_for_each_other() {
    let answers = calls_through(ring("ring_of_calls").await, 1).await;
    assert_eq!(answers, vec![""; 600]);
}

/// The same through channels, where calls wait until their peer is ready. Its mailbox is full of calls
/// that no handler makes, which must not keep those of handlers from being ready.
#[tokio::test(start_paused = true)]
async fn calls_around_a_ring_of_channels_wait_for_slots_and_never_for_each_other() {
    let config = Config::builder().max_waiting_calls(2).build().unwrap();
    let client_of = |peer| EchoClient::new(&Channel::new(peer));
    let clients = ring_of("ring_of_channels", config, client_of).await;
    let answers = calls_through(clients, 1).await;
    assert_eq!(answers, vec![""; 600]);
}

/// With one more hop, some calls find no slot: they are refused at once, unserved.
#[tokio::test(start_paused = true)]
async fn deeper_calls_are_refused_when_they_find_no_slot() {
    let clients = ring("ring_of_deeper_calls").await;
    let alone = clients[0].clone();
    let answers = calls_through(clients, 2).await;
    let refused: Vec<_> = answers.iter().filter(|text| !text.is_empty()).collect();
    assert!(!refused.is_empty());
    for text in refused {
        for part in ["NotSent", "ResourceExhausted", "all 64 calls", "max_calls"] {
            assert!(text.contains(part), "{text}");
        }
    }
    // A call that finds a slot is served.
    assert_eq!(alone.act(message("22")).await.unwrap().data, "");
}
