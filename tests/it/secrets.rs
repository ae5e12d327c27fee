//! Secrets never show: a planted one is in no log line, error or `Debug` output of wawo, however a handshake
//! or a call ends.

use std::fmt;

use futures::FutureExt as _;
use tokio::io::{AsyncWriteExt, duplex};
use wawo::{
    Body, Config, ConnectError, Credentials, Identity, Metadata, MethodDescriptor, MethodId, Peer,
    PeerBuilder, PeerEvent, Presented, Refusal, Request, Server, ServiceId, layer,
};

use crate::{
    logged::Log,
    support::{EchoClient, EchoServer, Parrot, message},
};

/// The secret that must not show.
const CANARY: &str = "canary-5ca1ab1e";

/// A log, and the `Debug` and `Display` texts that a test has seen.
struct Scan {
    log: Log,
    texts: Vec<String>,
}

impl Scan {
    fn see(&mut self, value: &impl fmt::Debug) {
        self.texts.push(format!("{value:?}"));
        self.texts.push(format!("{value:#?}"));
    }

    fn see_error(&mut self, error: &(impl std::error::Error + 'static)) {
        self.see(error);
        let mut next: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = next {
            self.texts.push(format!("{error} {error:?}"));
            next = error.source();
        }
    }

    fn finish(self) {
        let shows = |text: &&String| text.contains(CANARY);
        let texts: Vec<_> = self.texts.iter().filter(shows).collect();
        assert!(texts.is_empty(), "{texts:#?}");
        assert!(self.log.lines(CANARY).is_empty(), "{:?}", self.log);
    }
}

fn begin() -> (Scan, tracing::subscriber::DefaultGuard) {
    let (log, guard) = Log::begin();
    let texts = Vec::new();
    (Scan { log, texts }, guard)
}

fn canary() -> Credentials {
    Credentials::token(CANARY)
}

/// A program that refuses in each way that there is; it writes the canary into nothing itself.
async fn moody(presented: Presented) -> Result<&'static str, Refusal> {
    assert!(presented.credentials().matches(CANARY), "{presented:?}");
    match presented.claimed_name() {
        "refused" => Err(Refusal::new("not today")),
        "error" => Err("x".parse::<u8>().unwrap_err())?,
        "panic" => panic!("{presented:?} is not welcome"),
        "hang" => std::future::pending().await,
        _ => Ok("ada"),
    }
}

fn client(name: &str) -> PeerBuilder {
    let config = Config::builder().claimed_name(name).build().unwrap();
    Peer::builder("").config(config).credentials(canary())
}

#[tokio::test(start_paused = true)]
async fn no_end_of_a_handshake_or_a_call_shows_the_credentials() {
    let (mut scan, _guard) = begin();
    let rule = |_: &&str, method: &MethodDescriptor| method.name() == "Act";
    let server = Server::builder()
        .add_service(EchoServer::new(Parrot::default()))
        .authenticate(moody)
        .credentials(canary())
        .layer(layer::authorize(rule));
    scan.see(&server);
    scan.see(&client(""));
    let server = server.build().unwrap();
    scan.see(&server);
    let handle = server.handle();
    let mut events = handle.events();
    for name in ["fine", "refused", "error", "panic", "hang"] {
        let (here, there) = duplex(64 * 1024);
        handle.accept_from(there, "mem://there").unwrap();
        let builder = client(name).authenticate(async |presented: Presented| {
            assert!(presented.credentials().matches(CANARY));
            Ok(())
        });
        match builder.connect_over(here).await {
            Ok(peer) => {
                let echo = EchoClient::new(&peer);
                for what in ["x", "panic", "fail"] {
                    let call = echo.act(message(what)).metadata("authorization", CANARY);
                    if let Err(status) = call.await {
                        scan.see_error(&status);
                    }
                }
                let refused = echo.say(message("")).metadata("token", CANARY);
                scan.see_error(&refused.await.unwrap_err());
                scan.see(&peer);
                scan.see(&peer.identity::<()>());
                handle.peers().iter().for_each(|peer| scan.see(peer));
            }
            Err(error) => scan.see_error(&error),
        }
    }
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    while let Some(event) = events.next().now_or_never().flatten() {
        scan.see(&event);
        if let PeerEvent::NotConnected(_, error) = &event {
            scan.see_error(error);
        }
    }
    // The test would see nothing without a log.
    assert!(!scan.log.lines("connections were not let in").is_empty());
    scan.finish();
}

#[tokio::test(start_paused = true)]
async fn credentials_that_are_not_sent_do_not_show() {
    let (mut scan, _guard) = begin();
    let long = Credentials::token(CANARY.repeat(10_000));
    let (here, _there) = duplex(1024);
    let error = Peer::builder("").credentials(long).connect_over(here).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ConnectError::Credentials(_)), "{error}");
    scan.see_error(&error);
    let panicking = Peer::builder("").credentials(async || {
        let found: Result<Credentials, Credentials> = std::future::ready(Err(canary())).await;
        Ok(found.unwrap())
    });
    let (here, _there) = duplex(1024);
    scan.see_error(&panicking.connect_over(here).await.unwrap_err());
    // The other end does not answer in wawo's protocol, and repeats what it has read.
    let (here, mut there) = duplex(1024);
    let answer = format!("HTTP/1.1 400 authorization: {CANARY}");
    there.write_all(answer.as_bytes()).await.unwrap();
    let error = client("").connect_over(here).await.unwrap_err();
    assert!(error.to_string().contains("HTTP"), "{error}");
    scan.see_error(&error);
    scan.finish();
}

#[test]
fn values_that_hold_secrets_do_not_print_them() {
    let (mut scan, _guard) = begin();
    scan.see(&canary());
    scan.see(&Presented::new("test").with_credentials(canary()));
    scan.see(&Identity::new(CANARY));
    let (ids, body) = ((ServiceId(1), MethodId(1)), Body::One(Default::default()));
    let mut request = Request::by_id(ids.0, ids.1, false, body);
    let mut metadata = Metadata::new();
    for key in [
        "authorization",
        "cookie",
        "x-token",
        "client-secret",
        "password",
    ] {
        metadata.append(key, CANARY).unwrap();
        request.metadata_mut().append(key, CANARY).unwrap();
    }
    metadata.append("trace", "shown").unwrap();
    assert!(format!("{metadata:?}").contains(r#""trace": "shown""#));
    scan.see(&metadata);
    scan.see(&request);
    scan.see(&request.into_parts().0);
    scan.finish();
}
