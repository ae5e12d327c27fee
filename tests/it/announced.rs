//! The services that a peer announces in its hello explain why a call fails, and never refuse one.

use wawo::{
    Body, Code, Context, MethodDescriptor, MethodId, Peer, PeerEvent, Prost, RawService, Result,
    Server, ServiceDescriptor, ServiceId, Shape, codegen,
};
use wawo_test_protos::tests::completion::{Entry, LedgerClient};

use crate::{
    logged::Log,
    support::{
        Echo, EchoClient, EchoServer, Message, Parrot, client_of, echo_service, message, pair,
        serve,
    },
};

/// The test service in another version of its schema.
fn later() -> ServiceDescriptor {
    let shout = MethodDescriptor::builder("Shout", Shape::Unary).id(MethodId(70));
    let echo = ServiceDescriptor::builder("tests.echo.Echo").id(ServiceId(7));
    echo.method(shout).build().unwrap()
}

/// A method that only that version has.
fn shout() -> MethodDescriptor {
    later().method_by_name("Shout").unwrap().clone()
}

async fn call(peer: &Peer, method: impl Into<codegen::MethodRef>) -> Result<Message> {
    let start = codegen::start(peer, &later());
    codegen::call(&start, method, Prost, message("hi")).await
}

#[tokio::test]
async fn a_service_that_is_not_there_is_named_with_those_that_are() {
    let (_running, address, _) = serve("tcp://127.0.0.1:0").await;
    let peer = Peer::connect(&address).await.unwrap();
    let ledger = LedgerClient::new(&peer);
    let status = ledger.look(Entry::default()).await.unwrap_err();
    let text = format!(
        "tests.completion.Ledger/Look at {address}: Unimplemented: `tests.completion.Ledger` is not \
         served there; served: tests.echo.Echo"
    );
    assert_eq!(status.to_string(), text);
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_peer_that_serves_nothing_is_known_to_have_announced_nothing() {
    let mut server = Server::builder().build().unwrap();
    let peer = client_of(&mut server).await;
    let status = EchoClient::new(&peer).say(message("")).await.unwrap_err();
    let text = "Unimplemented: `tests.echo.Echo` is not served there; served: nothing";
    assert!(status.to_string().ends_with(text), "{status}");
}

#[tokio::test]
async fn services_that_do_not_fit_into_the_hello_are_served_and_the_log_tells() {
    for (services, warnings) in [(200, 0), (500, 1)] {
        let (log, _guard) = Log::begin();
        let mut server = Server::builder().add_service(EchoServer::new(Parrot::default()));
        for number in 0..services {
            server = server.add_service(RawService::new(
                numbered(number),
                |_: Context, body: Body| async { Ok(body) },
            ));
        }
        let mut server = server.build().unwrap();
        let told = log.lines("the table of the services does not fit into the hello");
        assert_eq!(told.len(), warnings, "{told:?}");
        let peer = client_of(&mut server).await;
        EchoClient::new(&peer).say(message("")).await.unwrap();
        let ledger = LedgerClient::new(&peer).look(Entry::default()).await;
        let status = ledger.unwrap_err().to_string();
        assert_eq!(
            status.contains("it announced nothing"),
            warnings == 1,
            "{status}"
        );
    }
}

/// A service of one method, with a name of 30 bytes.
fn numbered(number: u32) -> ServiceDescriptor {
    let service = ServiceDescriptor::builder(format!("tests.many.v1.NumberedService{number:02}"));
    let say = MethodDescriptor::builder("Say", Shape::Unary);
    service.method(say).build().unwrap()
}

#[tokio::test]
async fn another_schema_explains_a_method_that_is_not_there_and_refuses_none_that_is() {
    let pair = pair().await;
    let status = call(&pair.to_server, shout()).await.unwrap_err();
    let text = "it has Say, Act, Note, Repeat, Join, Talk: \
                the peer announced another schema of `tests.echo.Echo`";
    assert!(status.to_string().ends_with(text), "{status}");
    let reply = call(&pair.to_server, &echo_service::method::SAY).await;
    assert_eq!(reply.unwrap().data, "hi");
}

#[tokio::test]
async fn another_schema_is_told_once_for_a_connection() {
    let (log, _guard) = Log::begin();
    let pair = pair().await;
    let mut events = pair.to_server.events();
    for _ in 0..3 {
        codegen::start(&pair.to_server, &later());
    }
    // A peer with the same schema causes no event.
    EchoClient::new(&pair.to_client)
        .say(message(""))
        .await
        .unwrap();
    let lines = log.lines("another schema");
    assert_eq!(lines.len(), 1, "{log:?}");
    let line = format!(
        "WARN peers announced another schema of a service; calls of it may fail \
         service=\"tests.echo.Echo\" peer=\"peer {}\" here=\"{:016x}\" there=",
        pair.to_server.id(),
        later().fingerprint()
    );
    assert!(lines[0].starts_with(&line), "{lines:?}");
    pair.to_server.close("");
    let mut told = 0;
    while let Some(event) = events.next().await {
        if let PeerEvent::SchemaDiffers(peer, service) = event {
            assert_eq!((peer.id(), service), (pair.to_server.id(), later()));
            told += 1;
        }
    }
    assert_eq!(told, 1);
}

#[tokio::test]
async fn a_stub_that_is_made_before_the_hello_is_compared_when_that_comes() {
    let (log, _guard) = Log::begin();
    let mut server = Server::builder().build().unwrap();
    let (here, there) = tokio::io::duplex(64 * 1024);
    let to_client = server.accept_over(there).unwrap();
    let mut events = to_client.events();
    codegen::start(&to_client, &later());
    assert!(log.lines("another schema").is_empty());
    let client = Peer::builder("").add_service(EchoServer::new(Parrot::default()));
    let _client = client.connect_over(here).await.unwrap();
    // The client is connected once it has the server's hello, but the server may not have read the
    // client's hello yet.
    let told = |event: &PeerEvent| matches!(event, PeerEvent::SchemaDiffers(..));
    while !told(&events.next().await.expect("the connection is open")) {}
    assert_eq!(log.lines("another schema").len(), 1, "{log:?}");
}

/// Refuses each call with a status that does not name the method.
#[derive(Clone)]
struct Refusing;

impl Echo for Refusing {
    async fn say(&self, _: Context, _: Message) -> Result<Message> {
        Err(wawo::Status::invalid_argument("no such field"))
    }

    async fn act(&self, _: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn note(&self, _: Context, _: Message) {}

    async fn repeat(
        &self,
        _: Context,
        _: crate::support::RepeatRequest,
    ) -> Result<wawo::Streaming<Message>> {
        Ok(wawo::Streaming::empty())
    }

    async fn join(&self, _: Context, _: wawo::Streaming<Message>) -> Result<Message> {
        Ok(message(""))
    }

    async fn talk(
        &self,
        _: Context,
        requests: wawo::Streaming<Message>,
    ) -> Result<wawo::Streaming<Message>> {
        Ok(requests)
    }
}

#[tokio::test]
async fn another_schema_explains_arguments_and_replies_that_one_side_does_not_understand() {
    let server = Server::builder().add_service(EchoServer::new(Refusing));
    let mut server = server.build().unwrap();
    let peer = client_of(&mut server).await;
    let explained = "the peer announced another schema of `tests.echo.Echo`";
    let status = call(&peer, &echo_service::method::SAY).await.unwrap_err();
    let text = format!("InvalidArgument: no such field: {explained}");
    assert!(status.to_string().ends_with(&text), "{status}");

    let start = codegen::start(&peer, &later());
    let method = &echo_service::method::ACT;
    let reply: codegen::Call<bool> = codegen::call(&start, method, Prost, message("hi"));
    let status = reply.await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.to_string().ends_with(explained), "{status}");
}
