//! A server looks at its files by itself, from its start to its drain.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use tokio::task::JoinHandle;
use tower::util::MapRequestLayer;
use wawo::{
    Peer, Request, ServeError, Server, ServerHandle, Transport,
    tls::{ClientTls, ServerTls},
};

use super::{reload::Folder, support::client_tls};
use crate::support::{EchoClient, EchoServer, Parrot, message, of_server};

const MINUTE: Duration = Duration::from_secs(60);

/// Runs a server that listens nowhere.
fn run(tls: &ServerTls) -> (ServerHandle, JoinHandle<Result<(), ServeError>>) {
    let server = Server::builder().tls(tls.clone()).build().unwrap();
    (server.handle(), tokio::spawn(server.run()))
}

/// The certificate that a server shows. It is new for each new client, as a session that is resumed has the
/// certificate of its first handshake.
async fn shown(server: &ServerHandle) -> Vec<u8> {
    let (here, there) = tokio::io::duplex(8192);
    server.accept_from(there, "tls+mem://watch").unwrap();
    certificate(client_tls(), here).await
}

async fn certificate(client: ClientTls, transport: impl Transport) -> Vec<u8> {
    let connected = client.connect(transport, "localhost").await.unwrap();
    connected.facts().certificates()[0].to_vec()
}

#[tokio::test(start_paused = true)]
async fn files_are_looked_at_in_the_interval() {
    let folder = Folder::new("interval");
    let (by_default, _running) = run(&folder.server().build().unwrap());
    let never = folder.server().reload_interval(None).build().unwrap();
    let (never, _running) = run(&never);
    let first = shown(&by_default).await;
    assert_eq!(shown(&never).await, first);
    folder.renew();
    tokio::time::sleep(MINUTE * 9 / 10).await;
    assert_eq!(shown(&by_default).await, first);
    tokio::time::sleep(MINUTE).await;
    let second = shown(&by_default).await;
    assert_ne!(second, first);
    assert_eq!(shown(&never).await, first);
    // A broken file is passed over, and the next good one is used.
    folder.write("key.pem", "broken");
    tokio::time::sleep(MINUTE * 2).await;
    assert_eq!(shown(&by_default).await, second);
    folder.renew();
    tokio::time::sleep(MINUTE * 2).await;
    assert_ne!(shown(&by_default).await, second);
}

#[tokio::test(start_paused = true)]
async fn each_server_looks_at_the_files_that_it_shares_with_others() {
    let folder = Folder::new("shared");
    let tls = folder.server().build().unwrap();
    let (one, running) = run(&tls);
    let (other, _running) = run(&tls);
    let first = shown(&one).await;
    assert_eq!(shown(&other).await, first);
    one.drain(Duration::ZERO).await;
    running.await.unwrap().unwrap();
    folder.renew();
    tokio::time::sleep(MINUTE * 2).await;
    assert_ne!(shown(&other).await, first);
}

#[tokio::test(start_paused = true)]
async fn without_a_server_files_are_looked_at_by_reload_only() {
    let folder = Folder::new("no-server");
    let tls = folder.server().build().unwrap();
    let shown = async || {
        let (here, there) = tokio::io::duplex(8192);
        // The client leaves as soon as it has seen the certificate, so the server's side may fail.
        let (_, shown) = tokio::join!(tls.accept(there), certificate(client_tls(), here));
        shown
    };
    let first = shown().await;
    folder.renew();
    tokio::time::sleep(MINUTE * 2).await;
    assert_eq!(shown().await, first);
    assert!(tls.reload().unwrap());
    assert_ne!(shown().await, first);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drains_looks_at_no_files() {
    let folder = Folder::new("drained");
    let tls = folder.server().build().unwrap();
    let (server, running) = run(&tls);
    let (_here, there) = tokio::io::duplex(8192);
    let _peer = server.accept_over(there).unwrap();
    let drain = tokio::spawn(server.drain(MINUTE * 4).spread(MINUTE * 4).into_future());
    folder.renew();
    tokio::time::sleep(MINUTE * 2).await;
    assert!(tls.reload().unwrap(), "they were read before");
    drain.abort();
    running.abort();
}

thread_local! {
    /// Dropped when the thread ends.
    static AT_END: RefCell<Option<mpsc::Sender<()>>> = const { RefCell::new(None) };
}

/// The program keeps the certificate, to read its files at will.
#[tokio::test]
async fn a_worker_ends_with_its_server() {
    let folder = Folder::new("worker");
    let tls = folder.server().build().unwrap();
    let (sender, ended) = mpsc::channel();
    let sender = Arc::new(Mutex::new(Some(sender)));
    let note = MapRequestLayer::new(move |request: Request| {
        AT_END.set(sender.lock().unwrap().take());
        request
    });
    let config = of_server(|config| config.workers(Some(1)));
    let server = Server::builder().config(config).tls(tls.clone());
    let server = server.add_service(EchoServer::new(Parrot::default()));
    let server = server.layer(note);
    let server = server.bind("tls+mem://watch-worker").await.unwrap();
    let handle = server.handle();
    let running = tokio::spawn(server.run());
    let peer = Peer::builder("tls+mem://watch-worker").tls(client_tls());
    let peer = peer.connect().await.unwrap();
    EchoClient::new(&peer).say(message("hi")).await.unwrap();
    handle.drain(Duration::from_secs(20)).await;
    running.await.unwrap().unwrap();
    let ended = ended.recv_timeout(Duration::from_secs(20));
    assert_eq!(ended, Err(mpsc::RecvTimeoutError::Disconnected));
    drop(tls);
}
