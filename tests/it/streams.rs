//! Streams of messages over a connection.

use std::{sync::atomic::Ordering, time::Duration};

use futures::{StreamExt, stream};
use wawo::{Code, Config, Delivery, Streaming};

use crate::support::{EchoClient, Message, RepeatRequest, message, pair, pair_with};

#[tokio::test]
async fn all_shapes_of_streams_arrive_whole_and_in_order() {
    let pair = pair().await;
    for peer in [&pair.to_server, &pair.to_client] {
        let echo = EchoClient::new(peer);
        let request = RepeatRequest {
            data: "ab".into(),
            times: 1000,
        };
        let replies = echo.repeat(request).await.unwrap();
        assert_eq!(
            replies.filter_map(|item| async { item.ok() }).count().await,
            1000
        );
        let numbers = || stream::iter((0..1000_u32).map(|n| message(n.to_be_bytes().to_vec())));
        let joined = echo.join(numbers()).await.unwrap();
        let expected: Vec<u8> = (0..1000_u32).flat_map(u32::to_be_bytes).collect();
        assert_eq!(joined.data, expected);
        let talked = echo.talk(numbers()).await.unwrap();
        let talked: Vec<u8> = talked
            .flat_map(|item| stream::iter(item.unwrap().data))
            .collect()
            .await;
        assert_eq!(talked, expected);
    }
}

#[tokio::test]
async fn messages_larger_than_packets_and_credit_arrive() {
    let config = Config::builder()
        .max_packet_bytes(16 * 1024)
        .initial_credit_bytes(64 * 1024)
        .build()
        .unwrap();
    let pair = pair_with(config.clone(), config).await;
    let echo = EchoClient::new(&pair.to_server);
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    assert_eq!(echo.say(message(data.clone())).await.unwrap().data, data);
    let request = RepeatRequest {
        data: vec![7; 300_000].into(),
        times: 5,
    };
    let mut replies = echo.repeat(request).await.unwrap();
    let mut count = 0;
    while let Some(reply) = replies.message().await.unwrap() {
        assert_eq!(reply.data.len(), 300_000);
        count += 1;
    }
    assert_eq!(count, 5);
}

#[tokio::test]
async fn dropping_a_stream_of_replies_ends_it_at_the_other_side() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let endless = RepeatRequest {
        data: "x".into(),
        times: u32::MAX,
    };
    let mut replies = echo.repeat(endless).await.unwrap();
    replies.message().await.unwrap().unwrap();
    drop(replies);
    assert_eq!(echo.say(message("fine")).await.unwrap().data, "fine");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_at_its_deadline_with_a_status() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let call = echo
        .talk(Streaming::pending())
        .timeout(Duration::from_secs(1));
    let mut replies = call.await.unwrap();
    let status = replies.message().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_stream_is_not_taken_to_be_whole_when_the_peer_goes() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let endless = stream::iter([message("a")]).chain(stream::pending());
    let mut replies = echo.talk(endless).await.unwrap();
    assert_eq!(replies.message().await.unwrap().unwrap().data, "a");
    pair.to_client.close("gone");
    let status = replies.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(pair.at_server.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_stream_that_panics_ends_its_call_and_no_other() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let request = RepeatRequest {
        data: "panic".into(),
        times: 1,
    };
    let mut replies = echo.repeat(request).await.unwrap();
    let status = replies.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.delivery(), Delivery::Responded);

    let requests = stream::iter([message("a")]).map(|_| -> Message { panic!("as asked") });
    let status = echo.join(requests).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.delivery(), Delivery::Unknown);
    assert_eq!(echo.say(message("fine")).await.unwrap().data, "fine");
}
