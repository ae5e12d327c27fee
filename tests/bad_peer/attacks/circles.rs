//! Peers that call each other back.

use wawo::{CloseCode, Code, Config, Peer, Server};
use wawo_protocol::packet::Packet;

use crate::{
    raw::Raw,
    service::{EchoClient, EchoServer, Worker, message},
    target::{Target, config},
    wire::{ACT, unary},
};

/// Answers each call back with another call, without a depth.
pub(crate) async fn hidden_depth(raw: &mut Raw, calls: u32) {
    for index in 0..calls {
        let call = unary(2 * index + 1, ACT, "back");
        raw.send(call).await.unwrap();
        let back = raw.next().await;
        assert!(matches!(back, Some(Packet::Call(_))), "{back:?}");
    }
}

async fn circle(max: u32) {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let (at_server, at_client) = (Worker::default(), Worker::default());
    let limits = config(|config| config.max_call_depth(max));
    let mut server = Server::builder()
        .config(limits.clone())
        .add_service(EchoServer::new(at_server.clone()))
        .build()
        .unwrap();
    let _ = server.accept_over(there).unwrap();
    let peer = Peer::builder("")
        .config(limits)
        .add_service(EchoServer::new(at_client.clone()))
        .connect_over(here)
        .await
        .unwrap();
    let call = EchoClient::new(&peer).act(message("circle"));
    let status = call.await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let text = format!(
        "{} calls led to this one, each made by the handler of the one before; \
         at most {max} may (max_call_depth)",
        max + 1
    );
    assert_eq!(status.message(), text);
    // The first call was not caused by another one.
    let handlers = at_server.0.begun() + at_client.0.begun();
    assert_eq!(handlers, 1 + max as usize);
    at_server.0.until_live(0).await;
    at_client.0.until_live(0).await;
}

/// Attack 22. Depths that are not numbers, or above the limit, are in the table of cases.
#[tokio::test]
async fn peers_that_call_each_other_in_a_circle_stop_after_sixteen_calls() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    honest.beside(circle(16)).await;
    honest.beside(circle(1)).await;
    honest.leave().await;
}

/// Attack 22: a peer that hides the depth runs out of slots instead.
#[tokio::test]
async fn a_circle_that_hides_its_depth_ends_at_the_limit_of_calls() {
    let mut target = Target::memory(crate::memory::least()).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let attack = async {
        hidden_depth(&mut raw, 64).await;
        raw.send(unary(129, ACT, "back")).await.unwrap();
        raw.closed().await
    };
    let (code, why) = honest.beside(attack).await;
    assert_eq!(code, CloseCode::LimitExceeded);
    assert!(why.ends_with("(max_calls)"), "{why}");
    target.seen.until_live(0).await;
    honest.leave().await;
}
