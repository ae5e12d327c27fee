//! The memory limit of decoded messages: at a caller, in the same process, behind layers.

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tower::{Service as _, timeout::TimeoutLayer};
use wawo::{
    Body, CallTarget as _, Code, Config, Context, InProcess, MethodDescriptor, Peer, Request,
    Result, Server, Streaming,
};
use wawo_test_protos::tests::{
    defaults::Old,
    multiply::{
        Asked, Everything, Multiply, MultiplyClient, MultiplyServer, multiply_service::method,
    },
};

use crate::{logged::Log, support::client_of};

/// Returns what is requested, and accepts any request.
struct Giver;

impl Multiply for Giver {
    async fn hold(&self, _cx: Context, _: Everything) -> Result<()> {
        Ok(())
    }

    async fn note(&self, _cx: Context, _: Everything) {}

    async fn read(&self, _cx: Context, mut requests: Streaming<Everything>) -> Result<()> {
        while requests.message().await?.is_some() {}
        Ok(())
    }

    async fn give(&self, _cx: Context, request: Asked) -> Result<Everything> {
        Ok(Everything {
            fives: vec![Default::default(); request.elements as usize],
            ..Everything::default()
        })
    }

    async fn give_many(&self, cx: Context, request: Asked) -> Result<Streaming<Everything>> {
        let one = self.give(cx, request).await?;
        let all = vec![Ok(one); request.messages as usize];
        Ok(Streaming::new(stream::iter(all)))
    }

    async fn complete(&self, _cx: Context, _: Everything) -> Result<()> {
        Ok(())
    }

    async fn old(&self, _cx: Context, _: Old) -> Result<()> {
        Ok(())
    }
}

fn asked(elements: u32, messages: u32) -> Asked {
    Asked { elements, messages }
}

/// A stub whose replies may take 64 KiB each, and its server.
async fn connected() -> (MultiplyClient, Server) {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let server = Server::builder().add_service(MultiplyServer::new(Giver));
    let mut server = server.build().unwrap();
    let _ = server.accept_over(there).unwrap();
    let config = Config::builder()
        .max_decoded_bytes(64 * 1024)
        .build()
        .unwrap();
    let peer = Peer::builder("").config(config).connect_over(here);
    (MultiplyClient::new(&peer.await.unwrap()), server)
}

#[tokio::test]
async fn a_reply_that_would_take_too_much_fails_its_call_and_no_other() {
    let (stub, _server) = connected().await;
    // Some 100 bytes each: a vector with room for 256 of them.
    assert_eq!(stub.give(asked(200, 0)).await.unwrap().fives.len(), 200);
    let status = stub.give(asked(2_000, 0)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let text = status.message();
    assert!(
        text.starts_with("the reply of `tests.multiply.Multiply/Give` takes "),
        "{text}"
    );
    assert!(
        text.ends_with("takes at most 65536 (max_decoded_bytes)"),
        "{text}"
    );
    let mut replies = stub.give_many(asked(200, 3)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(replies.message().await.unwrap().unwrap().fives.len(), 200);
    }
    assert_eq!(replies.message().await.unwrap(), None);
    let mut replies = stub.give_many(asked(2_000, 3)).await.unwrap();
    let status = replies.next().await.unwrap().unwrap_err();
    assert!(
        status.message().ends_with("(max_decoded_bytes)"),
        "{status}"
    );
    assert!(replies.next().await.is_none());
    stub.give(asked(200, 0)).await.unwrap();
}

#[tokio::test]
async fn a_request_that_would_take_too_much_is_logged_where_it_is_served() {
    let (log, _guard) = Log::begin();
    let config = Config::builder().max_decoded_bytes(64 * 1024);
    let server = Server::builder().config(config.build().unwrap());
    let server = server.add_service(MultiplyServer::new(Giver));
    let mut server = server.build().unwrap();
    let stub = MultiplyClient::new(&client_of(&mut server).await);
    let large = Everything {
        fives: vec![Default::default(); 2_000],
        ..Everything::default()
    };
    stub.hold(large).await.unwrap_err();
    let lines = log.of("wawo::limit");
    assert_eq!(lines.len(), 1, "{log:?}");
    let begin = "WARN calls met a limit limit=\"max_decoded_bytes\" side=\"server\" peer=\"peer ";
    assert!(lines[0].starts_with(begin), "{lines:?}");
    let method = "method=\"tests.multiply.Multiply/Hold\" count=1";
    assert!(lines[0].contains(method), "{lines:?}");
}

/// Encodes a message that takes more than 64 MiB when decoded.
fn too_large() -> Bytes {
    [0x22, 0].repeat(1_100).into()
}

fn request(method: &MethodDescriptor, body: Body) -> Request {
    Request::new(method, body)
}

/// Requests of all shapes are checked, whatever carries them.
#[tokio::test]
async fn in_process_and_behind_layers_a_message_has_its_limit() {
    let plain = InProcess::new(MultiplyServer::new(Giver)).handle();
    let layer = TimeoutLayer::new(std::time::Duration::from_secs(5));
    let layered = InProcess::new(MultiplyServer::new(Giver).layer(layer)).handle();
    for over in [plain, layered] {
        for method in [&method::HOLD, &method::COMPLETE] {
            let body = Body::One(too_large().into());
            let status = over.clone().start(request(method, body)).await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted, "{method}: {status}");
            assert!(
                status.message().ends_with("(max_decoded_bytes)"),
                "{status}"
            );
        }
        for body in [
            Body::One(too_large().into()),
            Body::Many(Streaming::new(stream::iter([Ok(too_large())]))),
        ] {
            let read = over.clone().start(request(&method::READ, body));
            let status = read.await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        }
    }
    let body = Body::One(too_large().into());
    let mut server = MultiplyServer::new(Giver);
    let status = server.call(request(&method::NOTE, body)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
}
