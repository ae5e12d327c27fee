//! Calls that start over lines: by stubs, with errors, deadlines and cancellation.

use std::time::Duration;

use tokio::{io::duplex, time::Instant};
use wawo::{Code, Config, Delivery, StreamEnd};
use wawo_addon_test::LineClient;

use crate::support::{EchoClient, Wire, address, host, repeat, text};

/// A client whose server is written by hand.
fn client(config: Config) -> (EchoClient, Wire) {
    let (here, there) = duplex(64 * 1024);
    let client = LineClient::over(here, address(), "ada", config);
    (EchoClient::new(&client), Wire::new(there))
}

#[tokio::test]
async fn stubs_call_every_shape_that_lines_carry() {
    let host = host(Config::default());
    let echo = EchoClient::new(&host.lines("ada"));
    for said in ["", "hi", "ünï\ncode"] {
        assert_eq!(echo.say(text(said)).await.unwrap().text, said);
    }
    echo.note(text("note")).await.unwrap();
    host.seen.until(|seen| seen.notes == 1).await;
    let mut replies = echo.repeat(repeat("x", 3)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(replies.message().await.unwrap(), Some(text("x")));
    }
    assert_eq!(replies.message().await.unwrap(), None);
    assert_eq!(replies.end(), Some(StreamEnd::Completed));
    let requests = futures::stream::iter([text("a")]);
    let status = echo.join(requests).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.is_safe_to_retry(), "{status:?}");
}

#[tokio::test]
async fn errors_say_what_failed_where_and_whether_it_was_served() {
    let host = host(Config::default());
    let echo = EchoClient::new(&host.lines("ada"));
    let status = echo.say(text("fail")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "as asked")
    );
    assert_eq!(status.delivery(), Delivery::Responded);
    let shown = "addon.Echo/Say at tcp://192.0.2.1:9: FailedPrecondition: as asked";
    assert_eq!(status.to_string(), shown);
    let mut replies = echo.repeat(repeat("fail", 5)).await.unwrap();
    for _ in 0..2 {
        replies.message().await.unwrap().unwrap();
    }
    let status = replies.message().await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss);
    // A service that the server does not have.
    assert!(host.handle.remove_service("addon.Echo"));
    let status = echo.say(text("hi")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("addon.Echo"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_which_the_server_knows_too() {
    let config = Config::builder().default_timeout(Some(Duration::from_secs(3)));
    let (echo, mut wire) = client(config.build().unwrap());
    for (call, seconds, told) in [
        (echo.say(text("a")), 3, "3000"),
        (
            echo.say(text("a")).timeout(Duration::from_secs(2)),
            2,
            "2000",
        ),
    ] {
        let begin = Instant::now();
        let call = tokio::spawn(call);
        let line = loop {
            match wire.line().await {
                line if line.starts_with("call ") => break line,
                line => assert!(
                    line.starts_with("i am") || line.starts_with("cancel"),
                    "{line}"
                ),
            }
        };
        assert!(line.contains(&format!(" addon.Echo/Say {told} ")), "{line}");
        let status = call.await.unwrap().unwrap_err();
        assert_eq!(
            (status.code(), status.delivery()),
            (Code::DeadlineExceeded, Delivery::Unknown)
        );
        assert_eq!(begin.elapsed().as_secs(), seconds);
    }
    // Without a deadline, it waits.
    let call = tokio::spawn(echo.say(text("a")).no_timeout());
    while !wire.line().await.starts_with("call 3 addon.Echo/Say - ") {}
    tokio::time::advance(Duration::from_secs(1000)).await;
    wire.write("reply 3 0a0162\n").await;
    assert_eq!(call.await.unwrap().unwrap().text, "b");
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_replies_has_no_default_deadline_and_ends_at_its_own() {
    let (echo, mut wire) = client(Config::default());
    let forever = tokio::spawn(echo.repeat(repeat("x", 1)));
    assert_eq!(wire.line().await, "i am ada");
    assert!(wire.line().await.starts_with("call 1 addon.Echo/Repeat - "));
    wire.write("stream 1\n").await;
    let mut forever = forever.await.unwrap().unwrap();
    let bounded = echo.repeat(repeat("x", 1)).timeout(Duration::from_secs(20));
    let bounded = tokio::spawn(bounded);
    assert!(
        wire.line()
            .await
            .starts_with("call 2 addon.Echo/Repeat 20000 ")
    );
    wire.write("stream 2\nitem 2 \n").await;
    let mut bounded = bounded.await.unwrap().unwrap();
    assert_eq!(bounded.message().await.unwrap(), Some(text("")));
    let status = bounded.message().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(wire.line().await, "cancel 2");
    wire.write("end 1\n").await;
    assert_eq!(forever.message().await.unwrap(), None);
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled_on_the_other_side() {
    let host = host(Config::default());
    let echo = EchoClient::new(&host.lines("ada"));
    let waiting = tokio::spawn(echo.say(text("wait")));
    host.seen.until(|seen| seen.begun == 1).await;
    waiting.abort();
    host.seen.until(|seen| seen.dropped == 1).await;
    // By a guard, and so by the end of the handler that makes a call.
    let (call, guard) = echo.say(text("wait")).with_cancel_guard();
    let waiting = tokio::spawn(call);
    host.seen.until(|seen| seen.begun == 2).await;
    guard.cancel();
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), Code::Cancelled);
    host.seen.until(|seen| seen.dropped == 2).await;
}

#[tokio::test]
async fn calls_of_a_connection_that_is_lost_end_with_it() {
    for bye in [true, false] {
        let (echo, mut wire) = client(Config::default());
        let call = tokio::spawn(echo.say(text("a")));
        assert_eq!(wire.line().await, "i am ada");
        assert!(wire.line().await.starts_with("call 1 "));
        if bye {
            wire.write("bye for now\n").await;
        }
        drop(wire);
        let status = call.await.unwrap().unwrap_err();
        assert_eq!(
            (status.code(), status.delivery()),
            (Code::Unavailable, Delivery::Unknown)
        );
        let status = echo.say(text("a")).await.unwrap_err();
        assert!(status.is_safe_to_retry(), "{status:?}");
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_last_client() {
    let (echo, mut wire) = client(Config::default());
    assert_eq!(wire.line().await, "i am ada");
    drop(echo);
    assert_eq!(wire.rest().await, "");
}
