//! Limits: those of wawo hold for calls by lines, and lines have their own.

use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, duplex};
use wawo::{Code, Config, layer::InFlightLayer};
use wawo_addon_test::{LineClient, MAX_LINE_BYTES, MAX_WAITING_ANSWERS};

use crate::support::{EchoClient, Host, Parrot, Wire, address, builder, host, repeat, text};

/// The least that a configuration may allow.
const MAX_CALLS: u32 = 64;

fn narrow() -> Config {
    Config::builder().max_calls(MAX_CALLS).build().unwrap()
}

#[tokio::test]
async fn a_guest_has_no_more_calls_in_flight_than_max_calls() {
    let host = host(narrow());
    let mut wire = Wire::new(host.socket());
    wire.write("i am ada\n").await;
    for number in 0..=MAX_CALLS {
        // `hold`
        wire.write(&format!("call {number} addon.Echo/Say - 0a04686f6c64\n"))
            .await;
    }
    let line = wire.line().await;
    assert!(
        line.starts_with(&format!("refuse {MAX_CALLS} 8 ")),
        "{line}"
    );
    assert!(line.contains("max_calls"), "{line}");
    host.seen
        .until(|seen| seen.begun == MAX_CALLS as usize)
        .await;
    host.seen.release.notify_waiters();
    for _ in 0..MAX_CALLS {
        assert!(wire.line().await.starts_with("reply "));
    }
    wire.write("call 1 addon.Echo/Say - 0a026869\n").await;
    assert_eq!(wire.line().await, "reply 1 0a026869");
}

#[tokio::test]
async fn a_client_lets_its_calls_wait_instead() {
    let host = host(narrow());
    let client = LineClient::over(host.socket(), address(), "ada", narrow());
    let echo = EchoClient::new(&client);
    let hold = |_| tokio::spawn(echo.say(text("hold")));
    let held: Vec<_> = (0..MAX_CALLS).map(hold).collect();
    host.seen
        .until(|seen| seen.begun == MAX_CALLS as usize)
        .await;
    let waits = tokio::spawn(echo.say(text("hi")));
    host.seen.release.notify_waiters();
    for call in held {
        call.await.unwrap().unwrap();
    }
    assert_eq!(waits.await.unwrap().unwrap().text, "hi");
}

#[tokio::test]
async fn a_limit_of_the_server_is_one_for_its_guests_and_its_peers() {
    let parrot = Parrot::default();
    let server = builder(&parrot).layer(InFlightLayer::new(1)).build();
    let host = Host::of(server.unwrap(), parrot);
    let ada = EchoClient::new(&host.lines("ada"));
    let held = tokio::spawn(ada.say(text("hold")));
    host.seen.until(|seen| seen.begun == 1).await;
    let others = [
        EchoClient::new(&host.lines("bob")),
        EchoClient::new(&host.native().await),
    ];
    for other in &others {
        let status = other.say(text("hi")).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.is_safe_to_retry(), "{status:?}");
    }
    host.seen.release.notify_waiters();
    held.await.unwrap().unwrap();
    assert_eq!(others[0].say(text("hi")).await.unwrap().text, "hi");
}

#[tokio::test]
async fn a_message_that_does_not_fit_into_a_line_is_refused_on_either_side() {
    let host = host(Config::default());
    let echo = EchoClient::new(&host.lines("ada"));
    let fits = "x".repeat(30 * 1024);
    assert_eq!(echo.say(text(&fits)).await.unwrap().text, fits);
    let status = echo
        .say(text(&"x".repeat(MAX_LINE_BYTES / 2)))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.is_safe_to_retry(), "{status:?}");
    // A line without an end.
    let mut socket = host.socket();
    socket.write_all(b"i am ada\n").await.unwrap();
    let endless = vec![b'x'; MAX_LINE_BYTES + 1];
    socket.write_all(&endless).await.unwrap();
    assert_eq!(Wire::new(socket).rest().await, "");
    // The connection of the others is not touched.
    assert_eq!(echo.say(text("hi")).await.unwrap().text, "hi");
}

#[tokio::test]
async fn a_stream_with_a_slow_reader_ends_with_what_waited() {
    let (here, there) = duplex(64 * 1024);
    let client = LineClient::over(here, address(), "ada", Config::default());
    let (echo, mut wire) = (EchoClient::new(&client), Wire::new(there));
    assert_eq!(wire.line().await, "i am ada");
    for (stream, items) in [(1, MAX_WAITING_ANSWERS), (3, MAX_WAITING_ANSWERS + 1)] {
        let call = tokio::spawn(echo.repeat(repeat("x", 1)));
        assert!(wire.line().await.starts_with(&format!("call {stream} ")));
        wire.write(&format!("stream {stream}\n")).await;
        let mut replies = call.await.unwrap().unwrap();
        let (call, other) = (tokio::spawn(echo.say(text("hi"))), stream + 1);
        assert!(wire.line().await.starts_with(&format!("call {other} ")));
        let lines = format!("item {stream} \n").repeat(items);
        wire.write(&format!("{lines}end {stream}\nreply {other} \n"))
            .await;
        // All lines before that of the other call were read.
        call.await.unwrap().unwrap();
        for _ in 0..MAX_WAITING_ANSWERS {
            replies.message().await.unwrap().unwrap();
        }
        match replies.message().await {
            Ok(end) => assert_eq!((end, stream), (None, 1)),
            Err(status) => assert_eq!((status.code(), stream), (Code::ResourceExhausted, 3)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_server_that_reads_nothing_ends_at_its_deadline() {
    let (here, _there) = duplex(16);
    let echo = EchoClient::new(&LineClient::over(here, address(), "ada", narrow()));
    let calls: Vec<_> = (0..2 * MAX_CALLS)
        .map(|_| tokio::spawn(echo.say(text("hi"))))
        .collect();
    for call in calls {
        let status = call.await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
    let status = echo.say(text("hi")).timeout(Duration::from_secs(1)).await;
    assert!(status.unwrap_err().is_safe_to_retry(), "it found no room");
}
