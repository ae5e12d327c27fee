//! A proxy of bytes: it sends the calls of any service from one connection on to another, unchanged, and
//! knows no schema. Its whole code is the [`fallback`](wawo::ServerBuilder::fallback) of [`proxied`].

use futures::{StreamExt as _, stream};
use wawo::{Code, Config, Delivery, Peer, Server, StreamEnd};
use wawo_addon_test::LineProtocol;

use crate::support::{EchoClient, Host, host, repeat, text};

/// A parrot behind a proxy.
struct Proxied {
    behind: Host,
    to_behind: Peer,
    proxy: Host,
}

async fn proxied() -> Proxied {
    let behind = host(Config::default());
    let to_behind = behind.native().await;
    let proxy = Server::builder().fallback(to_behind.clone());
    let proxy = proxy.protocol(LineProtocol::default()).build().unwrap();
    Proxied {
        behind,
        to_behind,
        proxy: Host::of(proxy, Default::default()),
    }
}

#[tokio::test]
async fn calls_of_every_shape_pass_a_proxy() {
    let Proxied { behind, proxy, .. } = proxied().await;
    let echo = EchoClient::new(&proxy.native().await);
    let large = "x".repeat(1_000_000);
    for said in ["", "hi", &large] {
        assert_eq!(echo.say(text(said)).await.unwrap().text, said);
    }
    echo.note(text("note")).await.unwrap();
    behind.seen.until(|seen| seen.notes == 1).await;
    let replies = echo.repeat(repeat("x", 1000)).await.unwrap();
    assert_eq!(replies.count().await, 1000);
    let parts = || stream::iter(["a", "b", "c"].map(text));
    assert_eq!(echo.join(parts()).await.unwrap().text, "abc");
    let talked: Vec<_> = echo.talk(parts()).await.unwrap().collect().await;
    assert_eq!(talked[2].as_ref().unwrap(), &text("c"));
}

#[tokio::test]
async fn metadata_before_and_behind_replies_passes_a_proxy() {
    let Proxied {
        behind: _behind,
        proxy,
        ..
    } = proxied().await;
    let echo = EchoClient::new(&proxy.native().await);
    let call = echo.say(text("metadata")).metadata("asked", "this");
    let (_, metadata) = call.with_metadata().await.unwrap();
    assert_eq!(
        (metadata.text("answered"), metadata.len()),
        (Some("this"), 1)
    );
    let mut replies = echo.repeat(repeat("x", 2)).await.unwrap();
    while replies.message().await.unwrap().is_some() {}
    assert_eq!(replies.end(), Some(StreamEnd::Completed));
    assert_eq!(replies.trailing_metadata().text("times"), Some("2"));
}

#[tokio::test]
async fn statuses_pass_a_proxy_with_their_details() {
    let Proxied {
        behind: _behind,
        to_behind,
        proxy,
    } = proxied().await;
    let echo = EchoClient::new(&proxy.native().await);
    let status = echo.say(text("fail")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "as asked")
    );
    assert_eq!(status.details()[0].type_url, "type/a");
    assert_eq!(status.details()[0].value, vec![1, 2]);
    assert_eq!(status.metadata().text("why"), Some("asked"));
    let mut replies = echo.repeat(repeat("fail", 9)).await.unwrap();
    for _ in 0..2 {
        replies.message().await.unwrap().unwrap();
    }
    assert_eq!(replies.message().await.unwrap_err().code(), Code::DataLoss);
    // A call that cannot go on was not served.
    to_behind.close("");
    to_behind.closed().await;
    let status = echo.say(text("hi")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.delivery()),
        (Code::Unavailable, Delivery::NotSent)
    );
}

#[tokio::test]
async fn a_cancel_passes_a_proxy() {
    let Proxied { behind, proxy, .. } = proxied().await;
    let echo = EchoClient::new(&proxy.native().await);
    let waiting = tokio::spawn(echo.say(text("wait")));
    behind.seen.until(|seen| seen.begun == 1).await;
    waiting.abort();
    behind.seen.until(|seen| seen.dropped == 1).await;
}

#[tokio::test]
async fn calls_by_lines_pass_a_proxy_too() {
    let Proxied { behind, proxy, .. } = proxied().await;
    let echo = EchoClient::new(&proxy.lines("ada"));
    assert_eq!(echo.say(text("hi")).await.unwrap().text, "hi");
    let status = echo.say(text("fail")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "as asked")
    );
    let waiting = tokio::spawn(echo.say(text("wait")));
    behind.seen.until(|seen| seen.begun == 3).await;
    waiting.abort();
    behind.seen.until(|seen| seen.dropped == 1).await;
}
