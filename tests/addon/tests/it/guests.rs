//! Peers that come by lines: who they are, what is told of them, how they and their server end.

use std::time::Duration;

use tokio::net::TcpStream;
use wawo::{Code, Config, ConnectionError, PeerEvent, Server};
use wawo_addon_test::User;

use crate::support::{ADDRESS, EchoClient, Parrot, Wire, builder, host, text};

/// `addon.Text { text: "hi" }`, in hexadecimal.
const HI: &str = "0a026869";

#[tokio::test]
async fn lines_share_a_port_with_the_native_protocol() {
    let server = builder(&Parrot::default()).bind("tcp://127.0.0.1:0").await;
    let server = server.unwrap();
    let address = server.addresses()[0].clone();
    let running = tokio::spawn(Server::run(server));
    let peer = wawo::Peer::connect(address.clone()).await.unwrap();
    let native = EchoClient::new(&peer);
    let host_and_port = address.to_string().replace("tcp://", "");
    let socket = TcpStream::connect(host_and_port).await.unwrap();
    let lines = wawo_addon_test::LineClient::over(socket, address, "ada", Config::default());
    for echo in [native, EchoClient::new(&lines)] {
        assert_eq!(echo.say(text("hi")).await.unwrap().text, "hi");
    }
    running.abort();
}

#[tokio::test]
async fn a_guest_is_a_peer_with_a_name_an_address_and_a_user_from_its_first_event_on() {
    let host = host(Config::default());
    let mut events = host.handle.events();
    let mut wire = Wire::new(host.socket());
    wire.write("i am ada\n").await;
    let Some(PeerEvent::Connected(peer)) = events.next().await else {
        panic!("another event");
    };
    let peer = peer.upgrade().unwrap();
    assert_eq!((peer.protocol(), peer.is_callable()), ("lines", false));
    assert_eq!(peer.claimed_name(), "ada");
    assert_eq!(peer.address().unwrap().to_string(), ADDRESS);
    assert_eq!(
        *peer.extensions().get::<User>().unwrap(),
        User("ada".into())
    );
    assert_eq!(host.handle.peers().len(), 1);
    // It cannot be called back.
    let status = EchoClient::new(&peer).say(text("hi")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    drop(wire);
    let Some(PeerEvent::Disconnected(_, error)) = events.next().await else {
        panic!("another event");
    };
    assert!(matches!(error, ConnectionError::Lost(_)), "{error}");
}

#[tokio::test]
async fn a_line_that_means_nothing_ends_its_connection_and_says_why() {
    let host = host(Config::default());
    let mut events = host.handle.events();
    for (line, said) in [
        ("call me\n", "not a line of a call: call me"),
        ("i am bob\n", "i am bob"),
    ] {
        let mut wire = Wire::new(host.socket());
        wire.write("i am ada\n").await;
        wire.write(line).await;
        assert_eq!(wire.rest().await, "");
        let error = loop {
            if let PeerEvent::Disconnected(_, error) = events.next().await.unwrap() {
                break error.to_string();
            }
        };
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn the_application_may_close_a_guest() {
    let host = host(Config::default());
    let mut wire = Wire::new(host.socket());
    // `wait`, and then `hi`.
    let calls =
        format!("i am ada\ncall 1 addon.Echo/Say - 0a0477616974\ncall 2 addon.Echo/Say - {HI}\n");
    wire.write(&calls).await;
    assert_eq!(wire.line().await, format!("reply 2 {HI}"));
    host.handle.peers()[0].close("no more lines");
    let line = wire.line().await;
    assert!(line.starts_with("fail 1 14 the call was cut"), "{line}");
    assert_eq!(wire.rest().await, "bye no more lines\n");
    host.seen.until(|seen| seen.dropped == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_the_server_waits_for_calls_of_guests_and_reports_them() {
    // `hold` and `wait`, in hexadecimal.
    for (message, finished) in [("0a04686f6c64", 1), ("0a0477616974", 0)] {
        let host = host(Config::default());
        let mut wire = Wire::new(host.socket());
        wire.write(&format!("i am ada\ncall 1 addon.Echo/Say - {message}\n"))
            .await;
        host.seen.until(|seen| seen.begun == 1).await;
        let handle = host.handle.clone();
        let draining = tokio::spawn(async move { handle.drain(Duration::from_secs(5)).await });
        host.handle.peers()[0].draining().await;
        wire.write(&format!("call 2 addon.Echo/Say - {HI}\n")).await;
        let line = wire.line().await;
        assert!(line.starts_with("refuse 2 14 "), "{line}");
        host.seen.release.notify_waiters();
        let rest = wire.rest().await;
        let (answer, bye) = rest.split_once('\n').unwrap();
        assert_eq!(answer.starts_with("reply 1 "), finished == 1, "{answer}");
        assert!(bye.starts_with("bye "), "{bye}");
        let report = draining.await.unwrap();
        assert_eq!((report.peers, report.finished), (1, finished));
        let cut: Vec<_> = report
            .cut
            .iter()
            .map(|cut| (&*cut.claimed_name, cut.calls))
            .collect();
        let expected = [("ada", 1)];
        assert_eq!(cut, &expected[finished..]);
    }
}
