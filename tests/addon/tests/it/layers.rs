//! Layers that know calls by their methods and their peers, whatever protocol they came by.

use std::collections::BTreeMap;

use wawo::{Code, Peer, layer};
use wawo_addon_test::{Access, Usage, User};

use crate::support::{EchoClient, Host, Parrot, builder, repeat, text};

/// A server that measures all calls, also those that it refuses.
fn guarded(access: Access) -> (Host, Usage) {
    let (parrot, usage) = (Parrot::default(), Usage::default());
    let server = builder(&parrot);
    let server = server.layer(layer::intercept(usage.clone()));
    let server = server.layer(layer::intercept(access));
    (Host::of(server.build().unwrap(), parrot), usage)
}

fn ended<const N: usize>(codes: [(Code, u64); N]) -> BTreeMap<u16, u64> {
    codes.map(|(code, count)| (code.to_wire(), count)).into()
}

#[tokio::test]
async fn calls_are_authorised_by_the_user_of_their_peer_and_their_method() {
    let access = Access::default().allow("ada", "addon.Echo/Say");
    let (mut host, usage) = guarded(access);
    let ada = EchoClient::new(&host.lines("ada"));
    assert_eq!(ada.say(text("hi")).await.unwrap().text, "hi");
    let status = ada.repeat(repeat("x", 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(status.message(), "ada may not call addon.Echo/Repeat");
    assert!(status.is_safe_to_retry(), "its handler has not seen it");
    let mallory = EchoClient::new(&host.lines("mallory"));
    let status = mallory.say(text("hi")).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    // A peer of wawo's own protocol has no user before it has logged in.
    let (here, there) = tokio::io::duplex(64 * 1024);
    let at_server = host.server.accept_over(there).unwrap();
    let peer = Peer::builder("").connect_over(here).await.unwrap();
    let native = EchoClient::new(&peer);
    let status = native.say(text("hi")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    at_server.extensions().insert(User("ada".into()));
    assert_eq!(native.say(text("hi")).await.unwrap().text, "hi");
    let say = usage.of("addon.Echo/Say");
    assert_eq!(say.begun, 4);
    let expected = [
        (Code::Ok, 2),
        (Code::PermissionDenied, 1),
        (Code::Unauthenticated, 1),
    ];
    assert_eq!(say.ended, ended(expected));
}

#[tokio::test]
async fn the_end_of_each_call_and_of_each_stream_is_counted_once() {
    let methods = ["addon.Echo/Say", "addon.Echo/Repeat"];
    let access = methods.iter().fold(Access::default(), |access, method| {
        access.allow("ada", method)
    });
    let (host, usage) = guarded(access);
    let echo = EchoClient::new(&host.lines("ada"));
    echo.say(text("fail")).await.unwrap_err();
    let waiting = tokio::spawn(echo.say(text("wait")));
    host.seen.until(|seen| seen.begun == 2).await;
    waiting.abort();
    host.seen.until(|seen| seen.dropped == 1).await;
    // A stream that is read to its end, and one that fails.
    let mut replies = echo.repeat(repeat("x", 3)).await.unwrap();
    while replies.message().await.unwrap().is_some() {}
    let mut replies = echo.repeat(repeat("fail", 3)).await.unwrap();
    while replies.message().await.is_ok() {}
    let repeated = usage.of("addon.Echo/Repeat");
    assert_eq!((repeated.begun, repeated.replies), (2, 5));
    assert_eq!(repeated.ended, ended([(Code::Ok, 1), (Code::DataLoss, 1)]));
    // The handler is dropped before the layers around it.
    host.handle.drain(std::time::Duration::from_secs(5)).await;
    let said = usage.of("addon.Echo/Say");
    assert_eq!((said.begun, said.replies), (2, 0));
    assert_eq!(
        said.ended,
        ended([(Code::FailedPrecondition, 1), (Code::Cancelled, 1)])
    );
}

#[tokio::test]
async fn methods_that_are_not_there_share_one_count() {
    let (host, usage) = guarded(Access::default());
    assert!(host.handle.remove_service("addon.Echo"));
    let mut wire = crate::support::Wire::new(host.socket());
    wire.write("i am ada\ncall 1 some.Service/A - \ncall 2 some.Service/B - \n")
        .await;
    for _ in 0..2 {
        let line = wire.line().await;
        assert!(
            line.ends_with("ada may not call a method that is not served here"),
            "{line}"
        );
    }
    assert_eq!(usage.of("").begun, 2);
    assert_eq!(usage.of("addon.Echo/Say"), Default::default());
}
