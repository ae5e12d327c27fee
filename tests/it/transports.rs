//! The same calls over every transport, from both ends.

use std::sync::atomic::Ordering;

use wawo::{ConnectError, Peer, ServeError, Server};

use crate::support::{EchoClient, EchoServer, Parrot, message, pair, serve};

async fn both_ends_call(address: &str) {
    let (server, address, seen) = serve(address).await;
    let peer = Peer::builder(address)
        .add_service(EchoServer::new(Parrot::default()))
        .connect()
        .await
        .unwrap();
    let echo = EchoClient::new(&peer);
    assert_eq!(echo.say(message("there")).await.unwrap().data, "there");
    assert_eq!(echo.act(message("call back")).await.unwrap().data, "back");
    echo.note(message("note")).await.unwrap();
    seen.until(|seen| seen.notes.load(Ordering::SeqCst) == 1)
        .await;
    server.stop().await;
}

#[tokio::test]
async fn both_ends_call_over_tcp() {
    both_ends_call("tcp://127.0.0.1:0").await;
}

#[cfg(unix)]
#[tokio::test]
async fn both_ends_call_over_a_unix_socket_whose_file_comes_and_goes() {
    let path = std::env::temp_dir().join(format!("wawo-it-{}.sock", std::process::id()));
    // A socket that a dead process left behind is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let address = format!("unix://{}", path.display());
    both_ends_call(&address).await;
    let (server, ..) = serve(&address).await;
    let taken = Server::builder().bind(&address).await.unwrap_err();
    assert!(matches!(taken, ServeError::Bind { .. }), "{taken}");
    server.stop().await;
    assert!(!path.exists());
}

#[cfg(windows)]
#[tokio::test]
async fn both_ends_call_over_a_named_pipe_whose_name_comes_and_goes() {
    let address = format!("pipe://wawo-it-{}", std::process::id());
    both_ends_call(&address).await;
    let gone = Peer::connect(&*address).await.unwrap_err();
    assert!(matches!(gone, ConnectError::Transport { .. }), "{gone}");
}

#[tokio::test]
async fn transports_of_another_system_are_errors_that_name_one_of_this_system() {
    let (address, text) = match cfg!(windows) {
        true => ("unix:///tmp/a", "unix:// is Unix only; use pipe://name"),
        false => ("pipe://a", "pipe:// is Windows only; use unix:///path"),
    };
    let connect = Peer::connect(address).await.unwrap_err();
    assert_eq!(
        connect.to_string(),
        format!("cannot connect to {address}: {text}")
    );
    let listen = Server::builder().bind(address).await.unwrap_err();
    assert!(listen.to_string().ends_with(text), "{listen}");
}

#[tokio::test]
async fn both_ends_call_over_memory() {
    both_ends_call("mem://both_ends_call").await;
}

#[tokio::test]
async fn both_ends_call_over_any_stream_of_bytes() {
    let pair = pair().await;
    let there = EchoClient::new(&pair.to_server);
    let back = EchoClient::new(&pair.to_client);
    let (there, back) = tokio::join!(there.say(message("there")), back.say(message("back")));
    assert_eq!(
        (&there.unwrap().data[..], &back.unwrap().data[..]),
        (&b"there"[..], &b"back"[..])
    );
}

#[tokio::test]
async fn connect_errors_name_the_address() {
    for (address, text) in [
        (
            "localhost",
            "`localhost` is not an address: it has no scheme",
        ),
        ("tcp://127.0.0.1:1", "cannot connect to tcp://127.0.0.1:1"),
        ("mem://nobody", "cannot connect to mem://nobody"),
    ] {
        let error = Peer::connect(address).await.unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
    }
    let error = Server::builder().bind("nowhere").await.unwrap_err();
    assert!(matches!(error, ServeError::Address(_)));
}

#[tokio::test]
async fn a_server_that_is_no_wawo_server_is_told_by_its_first_bytes() {
    use tokio::io::AsyncWriteExt;

    let (here, mut there) = tokio::io::duplex(1024);
    there
        .write_all(b"HTTP/1.1 400 Bad Request\r\n")
        .await
        .unwrap();
    let error = Peer::builder("").connect_over(here).await.unwrap_err();
    assert!(matches!(error, ConnectError::Hello { .. }));
    let text = error.to_string();
    let begins =
        "it begins with \"HTTP/1.1\", not with \"WAWO/1\\r\\n\"; the peer is an HTTP server";
    assert!(text.ends_with(begins), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let error = Peer::connect(address).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
    let text = "within 5s (connect_timeout): the socket was connected, and no hello came";
    assert!(error.to_string().ends_with(text), "{error}");
}

#[tokio::test]
async fn two_services_with_one_id_are_an_error_at_start() {
    let echo = || EchoServer::new(Parrot::default());
    let first = line!() + 1;
    let builder = Server::builder().add_service(echo());
    let second = line!() + 1;
    let twice = builder.add_service(echo());
    let error = twice.build().unwrap_err().to_string();
    let [first, second] = [(first, 37), (second, 25)].map(|(line, column)| {
        let file = file!();
        format!("{file}:{line}:{column}")
    });
    let expected = format!(
        "the service `tests.echo.Echo` was added twice; leave one of them out (they were added at \
         {first} and at {second})"
    );
    assert_eq!(error, expected);
    let builder = Peer::builder("mem://twice").add_service(echo());
    let error = builder.add_service(echo()).connect().await.unwrap_err();
    assert_eq!(error.to_string().matches(file!()).count(), 2, "{error}");
}

#[tokio::test]
async fn an_error_of_main_prints_problem_place_and_reason() {
    let error = Peer::connect("tcp://127.0.0.1:1").await.unwrap_err();
    let text = format!("{error:?}");
    assert!(
        text.starts_with("cannot connect to tcp://127.0.0.1:1: "),
        "{text}"
    );

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let taken = Server::builder().bind(&address).await.unwrap_err();
    let text = format!("{taken:?}");
    assert!(
        text.starts_with(&format!("cannot listen at {address}: ")),
        "{text}"
    );

    let web = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut socket, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        socket
    });
    let error = Peer::connect(&*address).await.unwrap_err();
    let text = format!("{error:?}");
    let expected = format!("no connection to {address}: the peer broke the protocol: not a wawo");
    assert!(text.starts_with(&expected), "{text}");
    web.await.unwrap();

    let status = wawo::Status::not_found("no such room");
    let status = status.with_source(std::io::Error::other("disk gone"));
    let text = "NotFound: no such room: disk gone";
    assert_eq!(format!("{status:?}"), text);
}
