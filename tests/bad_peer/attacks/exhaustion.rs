//! Peers that use all calls and then stay silent.

use std::time::Duration;

use wawo::{CloseCode, Code, Config};

use crate::{
    raw::Raw,
    target::{Target, config},
    wire::{ACT, END, NOTE, ONE_WAY, SAY, TALK, call, message, stream_with, unary},
};

/// Makes calls that wait forever.
pub(crate) async fn all_calls(raw: &mut Raw, calls: u32) {
    for index in 0..calls {
        let call = unary(2 * index + 1, ACT, "wait");
        raw.send(call).await.unwrap();
    }
    raw.goes_on().await;
}

/// Makes one-way calls that wait forever, as many as the request credit allows.
pub(crate) async fn all_one_way_calls(raw: &mut Raw) {
    let wait = call(0, NOTE, END | ONE_WAY).bytes(message("wait"));
    raw.flood(wait, 64 * 1024).await;
}

/// Attack 6: each peer has its own slots.
#[tokio::test]
async fn a_peer_that_holds_all_its_calls_keeps_nobody_else_out() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    honest.beside(all_calls(&mut raw, 1_024)).await;
    target.seen.until_live(1_024).await;
    honest.rounds(10).await;
    raw.send(unary(2_049, ACT, "wait")).await.unwrap();
    let why = "call 2049 is beyond the 1024 calls in flight that this side takes (max_calls)";
    let closed = honest.beside(raw.closed()).await;
    assert_eq!(closed, (CloseCode::LimitExceeded, why.to_owned()));
    // The handlers end with their connection.
    target.seen.until_live(0).await;
    honest.leave().await;
}

/// Attack 6: a stream over the limit is refused and safe to retry; others continue.
#[tokio::test]
async fn one_stream_too_many_is_refused_and_no_other() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    for index in 0..=256 {
        let stream = stream_with(2 * index + 1, TALK, ("do", "hold"));
        raw.send(stream).await.unwrap();
    }
    let end = honest.beside(raw.ended(513)).await;
    assert_eq!((end.code, end.refused), (Code::ResourceExhausted, true));
    assert_eq!(end.text, "256 streams are open already (max_streams)");
    target.seen.until_live(256).await;
    honest.leave().await;
}

/// Attack 6: calls have no idle timeout; a server's `max_timeout` ends calls that a caller leaves
/// open.
#[tokio::test(start_paused = true)]
async fn calls_left_open_are_ended_by_the_longest_timeout() {
    let limits = config(|config| config.max_timeout(Some(Duration::from_secs(5))));
    let mut target = Target::memory(limits).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    honest
        .beside(async {
            all_calls(&mut raw, 1_024).await;
            for index in 0..1_024 {
                let end = raw.ended(2 * index + 1).await;
                assert_eq!(end.code, Code::DeadlineExceeded);
            }
        })
        .await;
    target.seen.until_live(0).await;
    honest.leave().await;
}

/// Attack 6: one-way calls hold their credit until they are served.
#[tokio::test]
async fn one_way_calls_that_are_not_done_end_at_the_credit_of_all_calls() {
    let mut target = Target::memory(crate::memory::least()).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let closed = async {
        // Each costs 64 and the message's six bytes, of 65,536.
        let wait = call(0, NOTE, END | ONE_WAY).bytes(message("wait"));
        assert_eq!(raw.flood(wait.clone(), 937).await, 937);
        raw.goes_on().await;
        raw.send(wait).await.unwrap();
        raw.closed().await
    };
    let closed = honest.beside(closed).await;
    let why = "a message without credit for all calls together (request_credit_bytes)";
    assert_eq!(closed, (CloseCode::LimitExceeded, why.to_owned()));
    honest.leave().await;
}

/// Attack 1, with all bytes sent: a message over the limit ends its call, even in one packet.
#[tokio::test]
async fn a_whole_message_over_the_limit_ends_its_call() {
    let limits = config(|config| config.max_message_bytes(64 * 1024));
    let mut target = Target::memory(limits).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let large = call(1, SAY, END).bytes(vec![0; 64 * 1024 + 1]);
    raw.send(large).await.unwrap();
    let end = honest.beside(raw.ended(1)).await;
    assert_eq!(end.code, Code::ResourceExhausted);
    let text = "a message of 65537 bytes; the callee takes at most 65536 (max_message_bytes)";
    assert_eq!(end.text, text);
    raw.goes_on().await;
    honest.leave().await;
}
