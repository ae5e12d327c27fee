//! Answers that nobody reads, and streams that nobody grants.

use std::time::Duration;

use tokio::time::Instant;
use wawo::{Code, Config, ConnectionError, PeerEvent};
use wawo_protocol::packet::Packet;

use crate::{
    memory::peak,
    raw::Raw,
    target::{Alone, Target, config},
    wire::{
        ACT, CALL, CONTINUES, CREDIT, END, MESSAGE, MORE, TALK, packet, repeat, stream_with, unary,
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// Calls of a service that is not there, until the server has gone: each makes it write.
pub(crate) async fn failures(raw: &mut Raw) {
    for index in (0..64).cycle().take(1_000_000) {
        let unknown = packet(CALL).flags(END).call(2 * index + 1).u64(0);
        if raw.send(unknown).await.is_err() {
            return;
        }
    }
    panic!("more failures than there are calls for");
}

/// Messages in two chunks of one byte: each begins with a grant for what is missing.
pub(crate) async fn grants(raw: &mut Raw, messages: usize) {
    raw.send(stream_with(1, TALK, ("do", "drop")))
        .await
        .unwrap();
    let first = packet(MESSAGE).call(1).flags(MORE).u32(2).bytes("a");
    let last = packet(MESSAGE).call(1).flags(CONTINUES).bytes("b");
    let both = [first.build(), last.build()].concat();
    raw.flood(both.repeat(100), messages / 100).await;
}

/// Streams of replies that are never granted anything.
pub(crate) async fn stalled_streams(raw: &mut Raw, streams: u32) {
    for index in 0..streams {
        let call = repeat(2 * index + 1, 900, 1_000_000);
        raw.send(call).await.unwrap();
    }
    raw.goes_on().await;
}

/// Credit for all replies, and calls that are answered with 64 KiB each.
pub(crate) async fn large_replies(raw: &mut Raw, calls: u32) {
    replies_to(raw, calls, "large").await;
}

/// The same, and each handler waits before it answers, one after the other.
pub(crate) async fn late_replies(raw: &mut Raw, calls: u32) {
    replies_to(raw, calls, "late").await;
    tokio::time::sleep(2 * SECOND).await;
}

async fn replies_to(raw: &mut Raw, calls: u32, what: &'static str) {
    raw.take_all_replies().await;
    for index in 0..calls {
        let call = unary(2 * index + 1, ACT, what);
        if raw.send(call).await.is_err() {
            return;
        }
    }
}

/// A handler calls its caller again and again, which reads nothing, and grants all or nothing.
pub(crate) async fn calls_of_the_server(raw: &mut Raw, granted: bool) {
    if granted {
        raw.send(packet(CREDIT).u32(1 << 30)).await.unwrap();
    }
    raw.send(unary(1, ACT, "flood")).await.unwrap();
    // As long as a peer may read nothing; as long as it likes, of what it has not granted.
    tokio::time::sleep(9 * SECOND).await;
}

/// One stream of replies that is never granted anything.
pub(crate) async fn a_stalled_stream(raw: &mut Raw) {
    stalled_streams(raw, 1).await;
}

/// Waits until a connection is over, and returns why.
async fn over(target: &Target) -> ConnectionError {
    let mut events = target.handle.events();
    loop {
        match events.next().await {
            Some(PeerEvent::Disconnected(_, why)) => return why,
            Some(_) => {}
            None => panic!("the server is gone"),
        }
    }
}

/// Attack 5: failures wait with their calls, so a peer that reads none of them runs out of calls.
#[tokio::test(start_paused = true)]
async fn failures_that_are_not_read_use_up_the_calls() {
    let limits = config(|config| config.limits.max_calls = 64);
    let mut target = Target::memory(limits).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let (why, ()) = honest
        .beside(async { tokio::join!(over(&target), failures(&mut raw)) })
        .await;
    let text = why.to_string();
    let ending = "was started while a call with this id was in flight";
    assert!(text.ends_with(ending), "{text}");
    honest.leave().await;
}

/// Attack 5: what this side says of its own accord does not pile up either. Such grants wait
/// until there is room, and then come.
#[tokio::test(start_paused = true)]
async fn grants_that_are_not_read_do_not_pile_up() {
    const MESSAGES: usize = 100_000;
    let turn = Alone::take().await;
    let mut target = Target::alone(Config::default(), &turn);
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let ((), held) = peak(honest.beside(grants(&mut raw, MESSAGES))).await;
    println!("{held} bytes held");
    // 16 bytes for each would be 1.6 MB.
    assert!(held < 1024 * 1024, "{held} bytes held");
    raw.goes_on().await;
    honest.leave().await;
}

/// Attack 9: a stream alone holds 256 KiB at most, with what each message costs.
#[tokio::test(start_paused = true)]
async fn a_stream_without_credit_holds_a_quarter_of_a_mebibyte() {
    let turn = Alone::take().await;
    let mut target = Target::alone(Config::default(), &turn);
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let ((), held) = peak(honest.beside(a_stalled_stream(&mut raw))).await;
    println!("{held} bytes held");
    assert!(held < 600 * 1024, "{held} bytes held");
    honest.leave().await;
}

/// Attack 9, in time: the streams are ended, and the connection is not.
#[tokio::test(start_paused = true)]
async fn a_thousand_streams_without_credit_are_ended_after_thirty_seconds() {
    const STREAMS: u32 = 1_000;
    let mut target = Target::memory(config(|config| config.max_streams = 1_000)).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let began = Instant::now();
    honest
        .beside(async {
            stalled_streams(&mut raw, STREAMS).await;
            let mut ended = 0;
            while ended < STREAMS {
                match raw.next().await.expect("the connection goes on") {
                    Packet::End(end) => {
                        let text = "the peer gave no credit for the call \
                                    within 30s (stall_timeout)";
                        assert_eq!((end.code, &*end.text), (Code::ResourceExhausted, text));
                        ended += 1;
                    }
                    Packet::Ping(data) => {
                        raw.send(packet(crate::wire::PONG).u64(data)).await.unwrap();
                    }
                    _ => {}
                }
            }
        })
        .await;
    let passed = began.elapsed();
    assert!((30 * SECOND..31 * SECOND).contains(&passed), "{passed:?}");
    honest.leave().await;
}

/// Attack 10: little is held of what handlers answer, whether they answer at once or later. 64 MiB
/// would be held without the limit.
#[tokio::test(start_paused = true)]
async fn replies_that_are_not_read_stop_at_their_limit() {
    const MAX: usize = 1024 * 1024;
    let turn = Alone::take().await;
    for what in ["large", "late"] {
        let limits = config(|config| config.max_waiting_reply_bytes = MAX);
        let mut target = Target::alone(limits, &turn);
        let honest = target.honest().await;
        // All calls find room in the pipe: some 28 KB.
        let mut raw = target.greeted().await;
        let attack = async {
            replies_to(&mut raw, 1_000, what).await;
            tokio::time::sleep(2 * SECOND).await;
        };
        let ((), held) = peak(honest.beside(attack)).await;
        println!("{held} bytes held of {what} replies");
        // Besides, there is some state for each call.
        assert!(held < 2 * MAX + 4 * MAX, "{held} bytes held");
        let peers = target.handle.peers();
        let snapshots = futures::future::join_all(peers.iter().map(|peer| peer.snapshot())).await;
        let waiting = snapshots.iter().map(|held| held.waiting_reply_bytes).max();
        // The statuses of calls that were refused, or given up, wait too.
        let most = (2 * MAX + 1_000 * 200) as u64;
        let is_within = |waiting| waiting > MAX as u64 && waiting <= most;
        assert!(waiting.is_some_and(is_within), "{waiting:?}");
        honest.leave().await;
        drop((raw, target));
        tokio::time::sleep(SECOND).await;
    }
}

/// Attack 10: behind a pipe that takes nothing more.
#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_is_cut_off_after_ten_seconds() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let began = Instant::now();
    let attack = async { tokio::join!(over(&target), large_replies(&mut raw, 64)).0 };
    let why = honest.beside(attack).await;
    assert!(matches!(why, ConnectionError::SlowReader { .. }), "{why}");
    let passed = began.elapsed();
    assert!((10 * SECOND..11 * SECOND).contains(&passed), "{passed:?}");
    // It has a second to be told, which it does not use.
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(target.handle.peers().len(), 1, "the honest one");
    honest.leave().await;
}

/// Attack 10, over a socket, with a shorter limit since its time is real.
#[tokio::test]
async fn a_socket_that_is_not_read_is_cut_off() {
    let limits = config(|config| config.write_timeout = SECOND / 5);
    let mut target = Target::tcp(limits).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let attack = async {
        // 64 MiB are more than the buffers of both sockets take.
        tokio::join!(over(&target), large_replies(&mut raw, 1_024)).0
    };
    let why = honest.beside(attack).await;
    assert!(matches!(why, ConnectionError::SlowReader { .. }), "{why}");
    honest.leave().await;
}
