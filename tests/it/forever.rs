//! The longest `Duration` means "never": nothing that takes a time panics, and calls work as with
//! any other time.

use std::{future::IntoFuture, sync::atomic::Ordering, time::Duration};

use futures::{StreamExt, stream};
use tokio::time::timeout;
use wawo::{Config, CustomProtocol, DrainReport, InProcess, Peer, Server, layer::MaxTimeLayer};

use crate::{
    custom_protocol::plain::Plain,
    support::{
        EchoClient, EchoServer, Pair, Parrot, RepeatRequest, Seen, message, of_server, pair,
        pair_with,
    },
};

const FOREVER: Duration = Duration::MAX;

/// Longer than any test needs, so a test that hangs fails.
const LONG: Duration = Duration::from_secs(1_000);

/// A config with every time at its maximum.
fn forever() -> Config {
    Config::builder()
        .default_timeout(Some(FOREVER))
        .max_timeout(Some(FOREVER))
        .handshake_timeout(FOREVER)
        .keep_alive_interval(FOREVER)
        .keep_alive_timeout(FOREVER)
        .packet_timeout(FOREVER)
        .write_timeout(FOREVER)
        .stall_timeout(FOREVER)
        .build()
        .unwrap()
}

/// Makes a call of each shape, with the default timeout and with its own.
async fn call_in_every_shape(echo: &EchoClient) {
    let one = || message("one");
    let three = || stream::iter(["a", "b", "c"].map(message));
    let repeat = || RepeatRequest {
        data: "a".into(),
        times: 3,
    };
    assert_eq!(echo.say(one()).await.unwrap().data, "one");
    assert_eq!(echo.say(one()).timeout(FOREVER).await.unwrap().data, "one");
    echo.act(message("yield")).timeout(FOREVER).await.unwrap();
    echo.note(one()).await.unwrap();
    echo.note(one()).timeout(FOREVER).await.unwrap();
    assert_eq!(echo.repeat(repeat()).await.unwrap().count().await, 3);
    let replies = echo.repeat(repeat()).timeout(FOREVER).await.unwrap();
    assert_eq!(replies.count().await, 3);
    let joined = echo.join(three()).timeout(FOREVER).await.unwrap();
    assert_eq!(joined.data, "abc");
    let talk = echo.talk(three()).timeout(FOREVER).await.unwrap();
    assert_eq!(talk.count().await, 3);
}

/// Drains while a call is in flight, which ends by itself.
async fn drain_a_call(pair: &Pair, drain: impl Future<Output = DrainReport> + Send + 'static) {
    let echo = EchoClient::new(&pair.to_server);
    let held = tokio::spawn(echo.act(message("hold")).into_future());
    let begun = |seen: &Seen| seen.begun.load(Ordering::SeqCst) == 1;
    pair.at_server.until(begun).await;
    let drain = tokio::spawn(drain);
    pair.to_server.draining().await;
    pair.at_server.release.notify_one();
    assert_eq!(held.await.unwrap().unwrap().data, "hold");
    let report = timeout(LONG, drain).await.unwrap().unwrap();
    assert_eq!((report.peers, report.finished, report.cut.len()), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn settings_of_a_connection_may_be_forever() {
    let pair = pair_with(forever(), forever()).await;
    call_in_every_shape(&EchoClient::new(&pair.to_server)).await;
    call_in_every_shape(&EchoClient::new(&pair.to_client)).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_may_drain_forever() {
    let pair = pair().await;
    let to_client = pair.to_client.clone();
    drain_a_call(&pair, async move { to_client.drain(FOREVER).await }).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_runs_may_drain_forever() {
    let name = "mem://a_server_that_runs_may_drain_forever";
    let parrot = Parrot::default();
    let server = Server::builder().add_service(EchoServer::new(parrot.clone()));
    let server = server.config(of_server(|config| config.drain_grace(FOREVER)));
    let server = server.bind(name).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let signal = async move { drop(stopped.await) };
    let running = tokio::spawn(server.run_until(signal));
    let config = Config::builder().connect_timeout(FOREVER).build();
    let peer = Peer::builder(name).config(config.unwrap());
    let peer = peer.connect().await.unwrap();
    let echo = EchoClient::new(&peer);
    let held = tokio::spawn(echo.act(message("hold")).into_future());
    let begun = |seen: &Seen| seen.begun.load(Ordering::SeqCst) == 1;
    parrot.0.until(begun).await;
    drop(stop);
    peer.draining().await;
    parrot.0.release.notify_one();
    assert_eq!(held.await.unwrap().unwrap().data, "hold");
    let report = timeout(LONG, running).await.unwrap().unwrap().unwrap();
    assert_eq!((report.peers, report.finished, report.cut.len()), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_layer_may_give_calls_forever() {
    let layer = MaxTimeLayer::new(FOREVER);
    let server = EchoServer::new(Parrot::default()).layer(layer);
    call_in_every_shape(&EchoClient::new(&InProcess::new(server))).await;
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_protocol_of_ones_own_may_take_forever() {
    let (here, there) = tokio::io::duplex(1024);
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let mut server = server.build().unwrap();
    let accepting = CustomProtocol::accepting(there, Plain::default()).call_timeout(Some(FOREVER));
    let _ = server.accept_over(accepting).unwrap();
    let connecting = CustomProtocol::connecting(here, Plain::default());
    let peer = Peer::builder("").config(forever());
    let peer = peer.connect_over(connecting).await.unwrap();
    // The plain protocol has no streams.
    let echo = EchoClient::new(&peer);
    let call = echo.act(message("yield")).timeout(FOREVER);
    assert_eq!(call.await.unwrap().data, "yield");
    echo.note(message("one")).timeout(FOREVER).await.unwrap();
}
