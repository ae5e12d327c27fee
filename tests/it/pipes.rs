//! Listening at and connecting to named pipes of Windows.

use std::time::Duration;

use futures::future::join_all;
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeServer, ServerOptions};
use wawo::{Address, Config, ConnectError, Peer, ServeError, ServerBuilder, SocketOptions};

use crate::{
    sockets::{builder, calls, take_over},
    support::{EchoClient, message, serve},
};

fn name(test: &str) -> String {
    format!("wawo-it-{test}-{}", std::process::id())
}

fn shared() -> ServerBuilder {
    builder().socket_options(SocketOptions::new().pipe_shared(true))
}

/// An instance of a pipe that no wawo server has.
fn instance(name: &str) -> NamedPipeServer {
    let path = format!(r"\\.\pipe\{name}");
    ServerOptions::new().create(path).unwrap()
}

#[tokio::test]
async fn a_name_in_use_is_an_error_that_says_so() {
    let address = format!("pipe://{}", name("taken"));
    let (server, shown, _) = serve(&address).await;
    assert_eq!(shown, address);
    let error = builder().bind(&*address).await.map(drop).unwrap_err();
    let in_use = std::io::ErrorKind::AddrInUse;
    assert!(matches!(&error, ServeError::Bind { source, .. } if source.kind() == in_use));
    let text = format!("cannot listen at {address}: a process listens there");
    assert!(error.to_string().starts_with(&text), "{error}");
    server.stop().await;
    builder().bind(&*address).await.unwrap();
}

#[tokio::test]
async fn the_case_of_a_name_is_ignored() {
    let (server, ..) = serve(&format!("pipe://{}", name("case"))).await;
    calls(&format!("pipe://{}", name("case").to_uppercase())).await;
    server.stop().await;
}

#[tokio::test]
async fn a_name_at_which_nothing_listens_is_an_error_that_says_so() {
    let address = format!("pipe://{}", name("nothing"));
    let error = Peer::connect(&*address).await.unwrap_err();
    assert!(matches!(error, ConnectError::Transport { .. }), "{error:?}");
    let text = format!("cannot connect to {address}: nothing listens there");
    assert!(error.to_string().starts_with(&text), "{error}");
}

/// Such an address was not made of a text, so nothing has checked it yet.
#[tokio::test]
async fn a_name_that_leaves_the_folder_of_pipes_is_refused_at_both_ends() {
    let address = Address::Pipe(r"..\a".to_owned());
    let text = "its name contains a slash or a backslash";
    let error = Peer::connect(&address).await.unwrap_err();
    assert!(error.to_string().ends_with(text), "{error}");
    let error = builder().bind(&address).await.unwrap_err();
    assert!(error.to_string().ends_with(text), "{error}");
}

#[tokio::test]
async fn a_pipe_without_a_free_instance_is_waited_for_within_the_connect_timeout() {
    let name = name("busy");
    let address = format!("pipe://{name}");
    let busy = instance(&name);
    let taken = ClientOptions::new().open(format!(r"\\.\pipe\{name}"));
    busy.connect().await.unwrap();
    let connecting = tokio::spawn(Peer::connect(address.clone()));
    let timeout = Duration::from_millis(50);
    let config = Config::builder().connect_timeout(timeout).build().unwrap();
    let another = Peer::builder(&*address).config(config);
    let error = another.connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error:?}");
    let text = format!(
        "{address} did not answer within 50ms (connect_timeout): all instances of the pipe are in use"
    );
    assert!(error.to_string().starts_with(&text), "{error}");

    let server = shared().bind(&*address).await.unwrap();
    let running = tokio::spawn(server.run());
    let _ = connecting.await.unwrap().unwrap();
    drop((taken, busy));
    running.abort();
}

/// A server that drains closes the instance that waits for a client, and a client may have it already.
#[tokio::test]
async fn a_client_whose_instance_is_closed_unaccepted_connects_again() {
    let name = name("unaccepted");
    let address = format!("pipe://{name}");
    let closed = instance(&name);
    let connecting = tokio::spawn(Peer::connect(address.clone()));
    closed.connect().await.unwrap();
    let server = shared().bind(&*address).await.unwrap();
    let running = tokio::spawn(server.run());
    drop(closed);
    let _ = connecting.await.unwrap().unwrap();
    running.abort();
}

/// Each would fail at once if it met no free instance and did not wait.
#[tokio::test]
async fn many_connect_at_once_and_none_is_refused() {
    let address = format!("pipe://{}", name("many"));
    let (server, ..) = serve(&address).await;
    let connecting = (0..20).map(|_| Peer::connect(&*address));
    for peer in join_all(connecting).await {
        let peer = peer.unwrap();
        let said = EchoClient::new(&peer).say(message("a")).await;
        assert_eq!(said.unwrap().data, "a");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_at_once_does_not_stop_the_listener() {
    let name = name("leaves");
    let address = format!("pipe://{name}");
    let (server, ..) = serve(&address).await;
    for _ in 0..10 {
        drop(ClientOptions::new().open(format!(r"\\.\pipe\{name}")));
        calls(&address).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn open_pipes_are_served_and_connected_over() {
    let name = name("open");
    let there = instance(&name);
    let here = ClientOptions::new().open(format!(r"\\.\pipe\{name}"));
    there.connect().await.unwrap();
    let mut server = builder().build().unwrap();
    let _ = server.accept_over(there).unwrap();
    let peer = Peer::builder("").connect_over(here.unwrap()).await;
    let said = EchoClient::new(&peer.unwrap()).say(message("a")).await;
    assert_eq!(said.unwrap().data, "a");
}

/// The name is there until the clients of the first server have gone too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_takes_over_a_shared_name_while_the_first_drains() {
    let address = format!("pipe://{}", name("takeover"));
    let first = shared().bind(&*address).await.unwrap();
    let second = async || shared().bind(&*address).await.unwrap();
    take_over(&address, first, second).await;
}
