//! Listening at and connecting to sockets of the system.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use wawo::{
    Address, ConnectError, OpenListener, Peer, PeerEvent, Server, ServerBuilder, SocketOptions,
};

use crate::support::{EchoClient, EchoServer, Parrot, message};

pub(crate) fn builder() -> ServerBuilder {
    Server::builder().add_service(EchoServer::new(Parrot::default()))
}

pub(crate) async fn calls(address: &str) {
    let peer = Peer::connect(address).await.unwrap();
    let echo = EchoClient::new(&peer);
    assert_eq!(echo.say(message("a")).await.unwrap().data, "a");
}

fn local(port: u16) -> [String; 2] {
    [
        format!("tcp://[::1]:{port}"),
        format!("tcp://127.0.0.1:{port}"),
    ]
}

fn port(address: &Address) -> u16 {
    let text = address.to_string();
    text.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Whether this machine has IPv6, as most have.
fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

#[tokio::test]
async fn localhost_is_listened_at_over_both_families_at_one_port() {
    let server = builder().bind("tcp://localhost:0").await.unwrap();
    let addresses = server.addresses();
    let port = port(&addresses[0]);
    let expected = match has_ipv6() {
        true => local(port).to_vec(),
        false => local(port)[1..].to_vec(),
    };
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(shown, expected);
    let running = tokio::spawn(server.run());
    for address in &expected {
        calls(address).await;
    }
    calls(&format!("tcp://LOCALHOST:{port}")).await;
    running.abort();
}

#[tokio::test]
async fn a_server_at_one_family_is_found_by_a_name_that_has_both() {
    for at in ["tcp://127.0.0.1:0", "tcp://[::1]:0"] {
        if at.contains("::1") && !has_ipv6() {
            continue;
        }
        let server = builder().bind(at).await.unwrap();
        let port = port(&server.addresses()[0]);
        let running = tokio::spawn(server.run());
        calls(&format!("tcp://localhost:{port}")).await;
        running.abort();
    }
}

#[tokio::test]
async fn the_error_names_each_address_that_was_tried() {
    let error = Peer::connect("tcp://localhost:1").await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("[::1]:1: "), "{text}");
    assert!(text.contains("127.0.0.1:1: "), "{text}");
}

#[tokio::test]
async fn a_dual_stack_server_shows_ipv4_peers_as_ipv4() {
    if !has_ipv6() {
        return;
    }
    let server = builder().bind("tcp://[::]:0").await.unwrap();
    let port = port(&server.addresses()[0]);
    let mut events = server.handle().events();
    let running = tokio::spawn(server.run());
    for (address, host) in local(port).iter().zip(["[::1]:", "127.0.0.1:"]) {
        let _peer = Peer::connect(address).await.unwrap();
        let from = loop {
            if let PeerEvent::Connected(peer) = events.next().await.unwrap() {
                break peer.upgrade().unwrap().address().unwrap().to_string();
            }
        };
        assert!(from.starts_with(&format!("tcp://{host}")), "{from}");
    }
    running.abort();
}

async fn served_at(listener: impl Into<OpenListener>) {
    let mut server = builder().build().unwrap();
    server.listen_on(listener).unwrap();
    let address = server.addresses()[0].to_string();
    let running = tokio::spawn(server.run());
    calls(&address).await;
    running.abort();
}

#[tokio::test]
async fn a_tcp_socket_that_is_open_already_is_served() {
    served_at(std::net::TcpListener::bind("127.0.0.1:0").unwrap()).await;
    let tokio = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    served_at(tokio).await;
}

#[tokio::test]
async fn transports_of_a_socket_that_is_open_already_are_wrapped() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = builder().build().unwrap();
    let wrapped = Arc::new(());
    let kept = wrapped.clone();
    let wrap = move |transport| {
        let _ = kept.clone();
        tokio::io::BufStream::new(transport)
    };
    server.listen_on_with(listener, wrap).unwrap();
    assert_eq!(Arc::strong_count(&wrapped), 2);
    drop(server);
    assert_eq!(Arc::strong_count(&wrapped), 1);
}

/// The new server accepts at the same socket before the old one drains, so no client is ever
/// refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_takes_over_a_socket_while_the_first_drains() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let mut first = builder().build().unwrap();
    first.listen_on(listener.try_clone().unwrap()).unwrap();
    let second = async || {
        let mut second = builder().build().unwrap();
        second.listen_on(listener).unwrap();
        second
    };
    take_over(&address, first, second).await;
}

/// Starts a second server and drains the first, while clients connect to their common address all the time:
/// none may be refused.
pub(crate) async fn take_over(address: &str, first: Server, second: impl AsyncFnOnce() -> Server) {
    const CONNECTS: usize = 50;

    let handle = first.handle();
    let first = tokio::spawn(first.run());
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let address = address.to_owned();
        clients.spawn(async move {
            for _ in 0..CONNECTS {
                let peer = Peer::connect(&*address).await.unwrap();
                // The first server may already refuse calls.
                let _ = EchoClient::new(&peer).say(message("a")).await;
            }
        });
    }
    // Some calls have reached the first server.
    calls(address).await;
    let second = second().await;
    let mut events = second.handle().events();
    let second = tokio::spawn(second.run());
    handle.drain(Duration::from_secs(5)).await;
    first.await.unwrap().unwrap();
    calls(address).await;
    assert!(events.next().await.is_some());
    while let Some(result) = clients.join_next().await {
        result.unwrap();
    }
    second.abort();
}

/// A server that drains resets connections that it has just accepted.
#[tokio::test]
async fn a_connection_that_is_reset_before_the_hello_is_made_again_three_times() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let accepted = AtomicUsize::new(0);
    let reset_all = async {
        for count in 1.. {
            let (socket, _) = listener.accept().await.unwrap();
            accepted.store(count, Ordering::SeqCst);
            // The reset must meet an established connection, not one in the making.
            socket.peek(&mut [0]).await.unwrap();
            socket2::SockRef::from(&socket)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
    };
    let error = tokio::select! {
        result = Peer::connect(address) => result.unwrap_err(),
        () = reset_all => unreachable!("it resets for ever"),
    };
    assert!(matches!(error, ConnectError::Hello { .. }), "{error:?}");
    assert_eq!(accepted.load(Ordering::SeqCst), 4, "{error:?}");
}

#[tokio::test]
async fn socket_options_that_are_out_of_range_are_errors_at_both_ends() {
    let options = SocketOptions::new().backlog(0);
    let error = Server::builder().socket_options(options.clone()).build();
    let text = "the socket option backlog is 0; it must be at least 1";
    assert_eq!(error.unwrap_err().to_string(), text);
    let peer = Peer::builder("tcp://127.0.0.1:1").socket_options(options);
    let error = peer.connect().await.unwrap_err();
    assert_eq!(error.to_string(), text);
}

#[cfg(unix)]
mod unix {
    use std::{
        os::{fd::OwnedFd, unix::net::UnixListener},
        path::PathBuf,
    };

    use wawo::{ServeError, Server, SocketOptions};

    use super::{builder, served_at};

    pub(super) fn path(test: &str) -> PathBuf {
        let name = format!("wawo-it-{test}-{}.sock", std::process::id());
        std::env::temp_dir().join(name)
    }

    #[tokio::test]
    async fn a_unix_socket_that_is_open_already_is_served_and_its_file_stays() {
        let path = path("open");
        served_at(UnixListener::bind(&path).unwrap()).await;
        assert!(path.exists());
        std::fs::remove_file(&path).unwrap();
        served_at(tokio::net::UnixListener::bind(&path).unwrap()).await;
        assert!(path.exists());
        std::fs::remove_file(&path).unwrap();
    }

    #[tokio::test]
    async fn a_socket_of_another_kind_or_that_does_not_listen_is_refused() {
        let mut server = builder().build().unwrap();
        let path = path("kind");
        let socket = OwnedFd::from(UnixListener::bind(&path).unwrap());
        let error = server.listen_on(std::net::TcpListener::from(socket));
        std::fs::remove_file(&path).unwrap();
        let error = error.unwrap_err();
        assert!(matches!(error, ServeError::OpenListener(_)));
        let text = "cannot listen at the socket that was given: it is not a TCP socket";
        assert!(format!("{error:?}").starts_with(text), "{error:?}");
        if cfg!(target_os = "linux") {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let connected = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
            let listener = std::net::TcpListener::from(OwnedFd::from(connected));
            let error = server.listen_on(listener).unwrap_err();
            let text = "cannot listen at the socket that was given: the socket does not listen";
            assert!(format!("{error:?}").starts_with(text), "{error:?}");
        }
        assert!(server.addresses().is_empty());
    }

    #[tokio::test]
    async fn the_options_reach_a_unix_socket() {
        use std::os::unix::fs::PermissionsExt;

        let path = path("options");
        let options = SocketOptions::new().unix_mode(0o660);
        let server = Server::builder().socket_options(options);
        let server = server.bind(&format!("unix://{}", path.display())).await;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        drop(server);
        assert!(!path.exists());
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{os::unix::net::UnixListener, path::PathBuf, time::Duration};

    use futures::future::join_all;
    use wawo::{ConnectError, Peer, PeerEvent, SocketOptions};

    use super::{builder, calls, unix::path};
    use crate::support::serve;

    /// A listener that does not accept, with a full backlog, and the sockets that fill it.
    async fn stuck(path: &PathBuf) -> (UnixListener, Vec<std::os::unix::net::UnixStream>) {
        let listener = UnixListener::bind(path).unwrap();
        // Shorter than the backlog of the standard library.
        rustix::net::listen(&listener, 1).unwrap();
        let connect = || std::os::unix::net::UnixStream::connect(path).unwrap();
        let waiting = std::iter::repeat_with(connect).take(2).collect();
        (listener, waiting)
    }

    #[tokio::test]
    async fn a_full_backlog_is_waited_for_within_the_connect_timeout() {
        let path = path("full");
        let address = format!("unix://{}", path.display());
        let (listener, waiting) = stuck(&path).await;
        let connecting = tokio::spawn(Peer::connect(address.clone()));
        // It has met the full backlog once a second attempt has met it too.
        let timeout = Duration::from_millis(50);
        let config = wawo::Config::builder().connect_timeout(timeout).build();
        let another = Peer::builder(&*address).config(config.unwrap());
        let error = another.connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::TimedOut { .. }));
        let text =
            format!("{address} did not answer within 50ms (connect_timeout): its backlog is full");
        assert!(error.to_string().starts_with(&text), "{error}");

        let mut server = builder().build().unwrap();
        server.listen_on(listener).unwrap();
        let running = tokio::spawn(server.run());
        let _ = connecting.await.unwrap().unwrap();
        drop(waiting);
        running.abort();
        std::fs::remove_file(&path).unwrap();
    }

    /// Each would fail at once with a full backlog.
    #[tokio::test]
    async fn many_connect_at_once_to_a_short_backlog() {
        let path = path("short");
        let options = SocketOptions::new().backlog(1);
        let server = builder().socket_options(options);
        let address = format!("unix://{}", path.display());
        let server = server.bind(&address).await.unwrap();
        let running = tokio::spawn(server.run());
        let connecting = (0..10).map(|_| Peer::connect(&*address));
        for peer in join_all(connecting).await {
            let _ = peer.unwrap();
        }
        running.abort();
    }

    #[tokio::test]
    async fn calls_go_over_an_abstract_socket() {
        let address = format!("unix://@wawo-it-{}", std::process::id());
        let (server, shown, _) = serve(&address).await;
        assert_eq!(shown, address);
        calls(&address).await;
        server.stop().await;
        let error = Peer::connect(&*address).await.unwrap_err();
        assert!(matches!(error, ConnectError::Transport { .. }));
    }

    #[tokio::test]
    async fn a_user_who_is_not_allowed_is_refused_and_the_server_goes_on() {
        let own = rustix::process::geteuid().as_raw();
        let address = format!("unix://@wawo-it-users-{}", std::process::id());
        let options = SocketOptions::new().abstract_uids([own + 1]);
        let server = builder().socket_options(options.clone());
        let server = server.bind(&address).await.unwrap();
        let mut events = server.handle().events();
        let running = tokio::spawn(server.run());
        for _ in 0..2 {
            let error = Peer::connect(&*address).await.unwrap_err();
            assert!(matches!(error, ConnectError::Hello { .. }), "{error:?}");
            let event = events.next().await.unwrap();
            let PeerEvent::AcceptFailed(error) = event else {
                panic!("{event:?}");
            };
            let text = format!("user {own} is not allowed at {address} (abstract_uids)");
            assert_eq!(error.to_string(), text);
        }
        let peer = Peer::builder(&*address).socket_options(options);
        let error = peer.connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::Transport { .. }), "{error}");
        running.abort();
    }
}
