//! Call ids in unusual order.

use wawo::{CloseCode, Config};

use crate::{
    target::Target,
    wire::{SAY, message, unary},
};

/// Attack 7: ids run out at `max_calls` and can be reused in any order. Invalid ids are in the
/// table of cases.
#[tokio::test]
async fn every_id_can_be_used_again_in_any_order_and_none_beyond_the_last() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    raw.take_all_replies().await;
    let ids = || (0..1_024).map(|index| 2 * index + 1);
    let (again, backwards) = (ids().step_by(7), ids().rev());
    honest
        .beside(async {
            for id in ids().chain(backwards).chain(again) {
                raw.send(unary(id, SAY, "hi")).await.unwrap();
                assert_eq!(raw.replied(id).await, message("hi"));
            }
            raw.send(unary(2_049, SAY, "hi")).await.unwrap();
            let (code, _) = raw.closed().await;
            assert_eq!(code, CloseCode::LimitExceeded);
        })
        .await;
    honest.leave().await;
}
