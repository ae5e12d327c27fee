//! Replies that nobody reads, and streams without credit.

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

/// Calls a missing service until the server closes: each call makes the server write.
pub(crate) async fn failures(raw: &mut Raw) {
    for index in (0..64).cycle().take(1_000_000) {
        let unknown = packet(CALL).flags(END).call(2 * index + 1).u64(0);
        if raw.send(unknown).await.is_err() {
            return;
        }
    }
    panic!("more failures than there are calls for");
}

/// Sends messages in two chunks of one byte: each makes the server grant credit for the rest.
pub(crate) async fn grants(raw: &mut Raw, messages: usize) {
    raw.send(stream_with(1, TALK, ("do", "drop")))
        .await
        .unwrap();
    let first = packet(MESSAGE).call(1).flags(MORE).u32(2).bytes("a");
    let last = packet(MESSAGE).call(1).flags(CONTINUES).bytes("b");
    let both = [first.build(), last.build()].concat();
    raw.flood(both.repeat(100), messages / 100).await;
}

/// Opens streams of replies, and never grants credit.
pub(crate) async fn stalled_streams(raw: &mut Raw, streams: u32) {
    for index in 0..streams {
        let call = repeat(2 * index + 1, 900, 1_000_000);
        raw.send(call).await.unwrap();
    }
    raw.goes_on().await;
}

/// Grants credit for all replies, and makes calls with replies of 64 KiB each.
pub(crate) async fn large_replies(raw: &mut Raw, calls: u32) {
    replies_to(raw, calls, "large").await;
}

/// The same, but each handler waits before it replies, one after the other.
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

/// Makes a handler call this peer repeatedly. The peer reads nothing, and grants everything or
/// nothing.
pub(crate) async fn calls_of_the_server(raw: &mut Raw, granted: bool) {
    if granted {
        raw.send(packet(CREDIT).u32(1 << 30)).await.unwrap();
    }
    raw.send(unary(1, ACT, "flood")).await.unwrap();
    // A peer may read nothing for this long. Without credit, it may take any time.
    tokio::time::sleep(9 * SECOND).await;
}

/// Opens one stream of replies, and never grants credit.
pub(crate) async fn a_stalled_stream(raw: &mut Raw) {
    stalled_streams(raw, 1).await;
}

/// Waits until a connection is over, and returns the reason.
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

/// Attack 5: failures wait with their calls, so a peer that reads none of them runs out of slots.
#[tokio::test(start_paused = true)]
async fn failures_that_are_not_read_use_up_the_calls() {
    let limits = config(|config| config.max_calls(64));
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

/// Attack 5: packets that the server sends by itself do not pile up either. Such grants wait until
/// there is room, and are then sent.
#[tokio::test(start_paused = true)]
async fn grants_that_are_not_read_do_not_pile_up() {
    const MESSAGES: usize = 100_000;
    let turn = Alone::take().await;
    let mut target = Target::alone(Config::default(), &turn);
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let ((), held) = peak(honest.beside(grants(&mut raw, MESSAGES))).await;
    println!("{held} bytes held");
    // At 16 bytes each, they would take 1.6 MB.
    assert!(held < 1024 * 1024, "{held} bytes held");
    raw.goes_on().await;
    honest.leave().await;
}

/// Attack 9: one stream holds at most 256 KiB, including the cost of each message.
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

/// Attack 9, over time: the streams end, and the connection continues.
#[tokio::test(start_paused = true)]
async fn a_thousand_streams_without_credit_are_ended_after_thirty_seconds() {
    const STREAMS: u32 = 1_000;
    let mut target = Target::memory(config(|config| config.max_streams(1_000))).await;
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

/// Attack 10: replies are bounded, whether handlers reply at once or later. Without the limit they
/// would take 64 MiB.
#[tokio::test(start_paused = true)]
async fn replies_that_are_not_read_stop_at_their_limit() {
    const MAX: usize = 1024 * 1024;
    let turn = Alone::take().await;
    for what in ["large", "late"] {
        let limits = config(|config| config.max_waiting_reply_bytes(MAX));
        let mut target = Target::alone(limits, &turn);
        let honest = target.honest().await;
        // All calls fit into the pipe: some 28 KB.
        let mut raw = target.greeted().await;
        let attack = async {
            replies_to(&mut raw, 1_000, what).await;
            tokio::time::sleep(2 * SECOND).await;
        };
        let ((), held) = peak(honest.beside(attack)).await;
        println!("{held} bytes held of {what} replies");
        // In addition there is some state per call.
        assert!(held < 2 * MAX + 4 * MAX, "{held} bytes held");
        let peers = target.handle.peers();
        let snapshots = futures::future::join_all(peers.iter().map(|peer| peer.snapshot())).await;
        let waiting = snapshots.iter().map(|held| held.waiting_reply_bytes).max();
        // The statuses of refused and ended calls wait too.
        let most = (2 * MAX + 1_000 * 200) as u64;
        let is_within = |waiting| waiting > MAX as u64 && waiting <= most;
        assert!(waiting.is_some_and(is_within), "{waiting:?}");
        honest.leave().await;
        drop((raw, target));
        tokio::time::sleep(SECOND).await;
    }
}

/// Attack 10, behind a pipe that takes nothing more.
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
    // The server tries for one second to send the close packet.
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(target.handle.peers().len(), 1, "the honest one");
    honest.leave().await;
}

/// Attack 10 over a socket, with a shorter limit because it uses real time.
#[tokio::test]
async fn a_socket_that_is_not_read_is_cut_off() {
    let limits = config(|config| config.write_timeout(SECOND / 5));
    let mut target = Target::tcp(limits).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let attack = async {
        // 64 MiB do not fit into the buffers of both sockets.
        tokio::join!(over(&target), large_replies(&mut raw, 1_024)).0
    };
    let why = honest.beside(attack).await;
    assert!(matches!(why, ConnectionError::SlowReader { .. }), "{why}");
    honest.leave().await;
}
