//! A server that serves connections in threads of its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::Ordering, mpsc},
    thread,
    time::Duration,
};

use tokio::{runtime::Handle, time::timeout};
use tower::{layer::util::Stack, util::MapRequestLayer};
use wawo::{Peer, PeerEvent, Request, Server, ServerBuilder, layer::PanicGuardLayer};

use crate::support::{EchoClient, EchoServer, Parrot, message, of_server};

/// The names of the threads that began calls, in order.
type Threads = Arc<Mutex<Vec<String>>>;

fn this_thread() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

fn server(workers: usize, parrot: Parrot) -> ServerBuilder {
    let server = Server::builder().config(of_server(|config| config.workers(Some(workers))));
    server.add_service(EchoServer::new(parrot))
}

type Noting<F> =
    ServerBuilder<Stack<Stack<PanicGuardLayer, MapRequestLayer<F>>, tower::layer::util::Identity>>;

/// A server of two workers, and the threads on which it began calls.
fn noting_threads() -> (Noting<impl Fn(Request) -> Request + Clone>, Threads) {
    let threads = Threads::default();
    let noted = threads.clone();
    let note = MapRequestLayer::new(move |request| {
        noted.lock().unwrap().push(this_thread());
        request
    });
    (server(2, Parrot::default()).layer(note), threads)
}

async fn spreads_connections(address: &str) {
    let (server, threads) = noting_threads();
    let server = server.bind(address).await.unwrap();
    let address = server.addresses()[0].to_string();
    let running = tokio::spawn(server.run());
    let mut peers = Vec::new();
    for _ in 0..4 {
        peers.push(Peer::connect(address.clone()).await.unwrap());
    }
    for peer in peers.iter().cycle().take(12) {
        // After its first step it continues as a task.
        EchoClient::new(peer).act(message("yield")).await.unwrap();
    }
    let threads = threads.lock().unwrap();
    let (first, others) = threads.split_at(4);
    assert_eq!((&first, &first), (&&others[..4], &&others[4..]));
    let mut connections = HashMap::<_, usize>::new();
    for name in first {
        *connections.entry(name.as_str()).or_default() += 1;
    }
    let even = HashMap::from([("wawo-worker-0", 2), ("wawo-worker-1", 2)]);
    assert_eq!(connections, even);
    running.abort();
}

#[tokio::test]
async fn tcp_connections_are_spread_over_the_workers_and_stay_there() {
    spreads_connections("tcp://127.0.0.1:0").await;
}

#[cfg(unix)]
#[tokio::test]
async fn connections_of_a_unix_socket_are_spread_over_the_workers_and_stay_there() {
    let path = std::env::temp_dir().join(format!("wawo-workers-{}.sock", std::process::id()));
    spreads_connections(&format!("unix://{}", path.display())).await;
}

#[cfg(windows)]
#[tokio::test]
async fn connections_of_a_named_pipe_are_spread_over_the_workers_and_stay_there() {
    spreads_connections(&format!("pipe://wawo-workers-{}", std::process::id())).await;
}

#[tokio::test]
async fn connections_in_memory_are_spread_over_the_workers_and_stay_there() {
    spreads_connections("mem://spread").await;
}

#[tokio::test]
async fn a_worker_whose_connections_have_gone_gets_the_next_one() {
    let (server, threads) = noting_threads();
    let server = server.bind("mem://gone").await.unwrap();
    let handle = server.handle();
    let running = tokio::spawn(server.run());
    let mut peers = Vec::new();
    for _ in 0..4 {
        peers.push(Peer::connect("mem://gone").await.unwrap());
    }
    // Drop the connections of the second worker; with them, both workers would have equally many.
    drop((peers.remove(3), peers.remove(1)));
    let gone = async {
        while handle.peers().len() > 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.unwrap();
    let next = Peer::connect("mem://gone").await.unwrap();
    EchoClient::new(&next).say(message("hi")).await.unwrap();
    assert_eq!(*threads.lock().unwrap(), ["wawo-worker-1"]);
    running.abort();
}

#[tokio::test]
async fn connections_of_accept_over_stay_on_their_thread() {
    let (server, threads) = noting_threads();
    let mut server = server.build().unwrap();
    let (here, there) = tokio::io::duplex(64 * 1024);
    let _ = server.accept_over(there).unwrap();
    let peer = Peer::builder("").connect_over(here).await.unwrap();
    EchoClient::new(&peer).say(message("hi")).await.unwrap();
    assert_eq!(*threads.lock().unwrap(), [this_thread()]);
}

#[tokio::test]
async fn a_transport_is_wrapped_at_its_worker() {
    let (sender, wrapped_in) = mpsc::channel();
    let mut server = server(1, Parrot::default()).build().unwrap();
    let wrap = move |transport| {
        sender.send(Handle::current().id()).unwrap();
        transport
    };
    server.bind_with("mem://wrapped", wrap).await.unwrap();
    let running = tokio::spawn(server.run());
    let peer = Peer::connect("mem://wrapped").await.unwrap();
    EchoClient::new(&peer).say(message("hi")).await.unwrap();
    assert_ne!(wrapped_in.recv().unwrap(), Handle::current().id());
    running.abort();
}

#[tokio::test]
async fn a_handler_that_blocks_holds_up_no_other_worker() {
    let (sender, receiver) = mpsc::channel();
    let (sender, receiver) = (Arc::new(Mutex::new(sender)), Arc::new(Mutex::new(receiver)));
    let meet = MapRequestLayer::new(move |request: Request| {
        // The first call waits for the second, on its thread.
        if let Ok(receiver) = receiver.try_lock() {
            receiver.recv_timeout(Duration::from_secs(20)).unwrap();
        } else {
            sender.lock().unwrap().send(()).unwrap();
        }
        request
    });
    let server = server(2, Parrot::default()).layer(meet);
    let running = tokio::spawn(server.bind("mem://blocks").await.unwrap().run());
    let one = Peer::connect("mem://blocks").await.unwrap();
    let other = Peer::connect("mem://blocks").await.unwrap();
    let (one, other) = tokio::join!(
        EchoClient::new(&one).say(message("hi")),
        EchoClient::new(&other).say(message("hi")),
    );
    assert_eq!(
        (one.unwrap().data, other.unwrap().data),
        ("hi".into(), "hi".into())
    );
    running.abort();
}

#[tokio::test]
async fn connections_and_handlers_at_workers_end_with_the_server() {
    let parrot = Parrot::default();
    let server = server(2, parrot.clone()).bind("mem://ends").await.unwrap();
    let running = tokio::spawn(server.run());
    let peer = Peer::connect("mem://ends").await.unwrap();
    let call = tokio::spawn(EchoClient::new(&peer).act(message("wait")));
    let seen = &parrot.0;
    seen.until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    running.abort();
    seen.until(|seen| seen.dropped.load(Ordering::SeqCst) == 1)
        .await;
    call.await.unwrap().unwrap_err();
    peer.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_told_of_is_among_the_peers() {
    let server = server(2, Parrot::default());
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let address = server.addresses()[0].to_string();
    let handle = server.handle();
    let mut events = handle.events();
    let running = tokio::spawn(server.run());
    let connecting = (0..100).map(|_| tokio::spawn(Peer::connect(address.clone())));
    let connecting: Vec<_> = connecting.collect();
    for _ in 0..100 {
        let told = events.next().await;
        let Some(PeerEvent::Connected(told)) = told else {
            panic!("not connected: {told:?}");
        };
        assert!(handle.peers().iter().any(|peer| peer.id() == told.id()));
    }
    drop(connecting);
    running.abort();
}

#[tokio::test]
async fn a_server_with_workers_drains() {
    let parrot = Parrot::default();
    let server = server(2, parrot.clone())
        .bind("mem://drains")
        .await
        .unwrap();
    let handle = server.handle();
    let running = tokio::spawn(server.run());
    let peer = Peer::connect("mem://drains").await.unwrap();
    let call = tokio::spawn(EchoClient::new(&peer).act(message("hold")));
    let seen = &parrot.0;
    seen.until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    let drain = tokio::spawn(async move { handle.drain(Duration::from_secs(20)).await });
    peer.draining().await;
    seen.release.notify_one();
    assert_eq!(call.await.unwrap().unwrap().data, "hold");
    let report = drain.await.unwrap();
    assert!(report.cut.is_empty(), "{report:?}");
    running.await.unwrap().unwrap();
}
