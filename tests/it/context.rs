//! Metadata, statuses, and what a handler's calls inherit from it.

use std::sync::atomic::Ordering;

use wawo::{Code, Context};

use crate::support::{EchoClient, message, pair};

#[tokio::test]
async fn metadata_goes_there_and_back() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let call = echo.act(message("metadata")).metadata("asked", "42");
    let (_, metadata) = call.with_metadata().await.unwrap();
    assert_eq!(metadata.text("answered"), Some("42"));
}

#[tokio::test]
async fn metadata_that_cannot_be_sent_fails_the_call_before_it_is_sent() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let status = echo
        .act(message("x"))
        .metadata("Key", "value")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("\"Key\""), "{status}");
    let long = "v".repeat(9000);
    let status = echo
        .act(message("x"))
        .metadata("key", long)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("max_metadata_bytes"), "{status}");
    assert_eq!(pair.at_server.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_status_arrives_with_its_details() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let status = echo.act(message("fail")).await.unwrap_err();
    assert_eq!(status.message(), "as asked");
    assert_eq!(status.details()[0].type_url, "type/a");
    assert_eq!(status.details()[0].value, [1].as_slice());
}

#[tokio::test]
async fn the_status_of_an_inner_call_leaks_only_if_it_is_forwarded() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let status = echo.act(message("leak")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.message(), "a call to another service failed");
    assert!(status.details().is_empty());
    let status = echo.act(message("forward")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "as asked");
}

#[tokio::test]
async fn there_is_no_context_outside_of_handlers() {
    assert!(Context::current().is_none());
    let joined = wawo::spawn(async { Context::current().is_none() });
    assert!(joined.await.unwrap());
}
