//! Extreme deadlines.
//!
//! On the wire a timeout is 32 bits of milliseconds, so a timeout cannot be negative, have another
//! unit, or exceed 49 days.

use std::time::Duration;

use prost::Message as _;
use wawo::Config;
use wawo_protocol::packet::PREFACE;

use crate::{
    raw::Raw,
    service::{EchoClient, Message, message as text},
    target::{Target, config},
    wire::{ACT, END, END_OF, HELLO, TIMEOUT, call, hello_entry, message, packet, unary},
};

/// The number of milliseconds that a handler has; `u128::MAX` for no deadline.
async fn left(raw: &mut Raw, millis: Option<u32>) -> u128 {
    let call = match millis {
        Some(millis) => call(1, ACT, END | TIMEOUT)
            .u32(millis)
            .bytes(message("deadline")),
        None => unary(1, ACT, "deadline"),
    };
    raw.send(call).await.unwrap();
    let reply = raw.replied(1).await;
    let text = Message::decode(&reply[..]).unwrap().data;
    std::str::from_utf8(&text).unwrap().parse().unwrap()
}

const DAYS_49: u128 = u32::MAX as u128;

/// Attack 23: no timeout overflows a timer, and the server's `max_timeout` caps all of them.
#[tokio::test(start_paused = true)]
async fn deadlines_are_capped_and_none_overflows() {
    let forever = wawo_protocol::time::FOREVER.as_millis();
    for (max, said, expected) in [
        (None, Some(0), u128::MAX),
        (None, Some(u32::MAX), DAYS_49),
        (None, Some(1), 1),
        (None, None, u128::MAX),
        (Some(5_000), Some(0), 5_000),
        (Some(5_000), Some(u32::MAX), 5_000),
        (Some(5_000), Some(1_000), 1_000),
        (Some(5_000), None, 5_000),
        (Some(u64::MAX), Some(0), forever),
    ] {
        let max = max.map(Duration::from_millis);
        let mut target = Target::memory(config(|config| config.max_timeout(max))).await;
        let honest = target.honest().await;
        let mut raw = target.greeted().await;
        let left = honest.beside(left(&mut raw, said)).await;
        assert_eq!(left, expected, "{max:?} {said:?}");
        honest.leave().await;
    }
}

/// A unary call whose end comes in a packet of its own has the time of a unary call, not of a stream.
#[tokio::test(start_paused = true)]
async fn the_time_of_a_unary_call_does_not_depend_on_its_form() {
    let hour = Duration::from_secs(3600);
    let config = config(|config| {
        let config = config.max_timeout(Some(Duration::from_secs(5)));
        config.max_stream_time(Some(hour))
    });
    let mut target = Target::memory(config).await;
    let mut raw = target.greeted().await;
    let begin = call(1, ACT, TIMEOUT).u32(0).bytes(message("deadline"));
    raw.send(begin).await.unwrap();
    raw.send(packet(END_OF).call(1)).await.unwrap();
    let reply = raw.replied(1).await;
    let text = Message::decode(&reply[..]).unwrap().data;
    assert_eq!(text, "5000");
}

/// Attack 23: the default timeout that a hello announces is treated like any other timeout.
#[tokio::test(start_paused = true)]
async fn a_default_timeout_may_be_anything() {
    for (default, expected) in [(0, u128::MAX), (1, 1), (u32::MAX, DAYS_49)] {
        let mut target = Target::memory(Config::default()).await;
        let honest = target.honest().await;
        let mut raw = target.raw().await;
        let hello = packet(HELLO).bytes(hello_entry(8, &u32::to_be_bytes(default)));
        let attack = async {
            raw.send(PREFACE).await.unwrap();
            raw.send(hello).await.unwrap();
            left(&mut raw, None).await
        };
        assert_eq!(honest.beside(attack).await, expected);
        honest.leave().await;
    }
}

/// Attack 23, by this side's own users: no timeout of a call overflows.
#[tokio::test(start_paused = true)]
async fn a_call_may_have_any_timeout() {
    let mut target = Target::memory(Config::default()).await;
    let peer = target.connect().await;
    let echo = EchoClient::new(&peer);
    let call = echo.act(text("deadline")).timeout(Duration::MAX);
    let left = call.await.unwrap().data;
    assert_eq!(left, DAYS_49.to_string());
}
