//! Calls that are opened and cancelled at once, and cancels for other ids.

use std::time::Duration;

use wawo::{CloseCode, Config};

use crate::{
    raw::Raw,
    target::Target,
    wire::{ACT, cancel, unary},
};

/// The number of calls that the next packet cancels; fewer in debug builds, which are slow.
const CALLS: usize = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};

/// The number of cancels allowed within a second, by default.
const A_SECOND: usize = 10_000;

/// The maximum number of live handlers. A cancelled handler is dropped when its task runs next, so
/// all that came in one read may be live together: 128 KiB of 38 bytes each.
const MAX_LIVE: usize = 3_500;

/// Opens and cancels calls at the allowed rate, in batches whose ends are read afterwards.
pub(crate) async fn opened_and_cancelled(raw: &mut Raw, calls: usize, batch: usize) {
    let pair = [unary(1, ACT, "wait").build(), cancel(1).build()].concat();
    for sent in (0..calls).step_by(batch) {
        if sent % A_SECOND == 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        raw.send(pair.repeat(batch)).await.unwrap();
        for _ in 0..batch {
            raw.ended(1).await;
        }
    }
}

/// Attack 4: handler tasks really stop, and do not pile up.
#[tokio::test(start_paused = true)]
async fn a_million_calls_opened_and_cancelled_leave_few_handlers() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    honest
        .beside(opened_and_cancelled(&mut raw, CALLS, 5_000))
        .await;
    target.seen.until_live(0).await;
    let (begun, most) = (target.seen.begun(), target.seen.most_live());
    println!("{begun} handlers begun, {most} at once");
    assert_eq!(begun, CALLS);
    assert!(most <= MAX_LIVE, "{most} handlers at once");
    honest.leave().await;
}

/// Attack 4: the end of a burst.
#[tokio::test(start_paused = true)]
async fn more_cancels_than_are_allowed_in_a_second_end_the_connection() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    opened_and_cancelled(&mut raw, A_SECOND, A_SECOND).await;
    raw.send(unary(1, ACT, "wait")).await.unwrap();
    raw.send(cancel(1)).await.unwrap();
    let closed = honest.beside(raw.closed()).await;
    let why = "more than 10000 cancels within a second (max_cancels_per_second)";
    assert_eq!(closed, (CloseCode::LimitExceeded, why.to_owned()));
    target.seen.until_live(0).await;
    honest.leave().await;
}

/// Attack 24: a cancel affects its own call on its own connection only.
#[tokio::test]
async fn a_cancel_touches_no_other_call() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let (mut one, mut other) = (target.greeted().await, target.greeted().await);
    for raw in [&mut one, &mut other] {
        raw.send(unary(1, ACT, "wait")).await.unwrap();
        raw.send(unary(3, ACT, "wait")).await.unwrap();
    }
    target.seen.until_live(4).await;
    honest
        .beside(async {
            one.send(cancel(3)).await.unwrap();
            one.ended(3).await;
            // One cancel that crosses the end of its call, and one for a call that never existed.
            one.send(cancel(3)).await.unwrap();
            one.goes_on().await;
            target.seen.until_live(3).await;
            other.send(cancel(5)).await.unwrap();
            let (_, why) = other.closed().await;
            assert_eq!(why, "cancel packet for call 5, which is not in flight");
        })
        .await;
    // The remaining call belongs to the peer that kept the rules.
    target.seen.until_live(1).await;
    one.send(cancel(1)).await.unwrap();
    one.ended(1).await;
    target.seen.until_live(0).await;
    honest.leave().await;
}
