//! More callers than a connection has slots.

use std::{future::IntoFuture, pin::pin, sync::atomic::Ordering, time::Duration};

use futures::{future::join_all, poll};
use wawo::{Code, Config, Status};

use crate::support::{EchoClient, message, pair_with};

#[tokio::test]
async fn callers_wait_while_half_of_the_calls_that_may_wait_do() {
    let here = Config::builder().max_waiting_calls(200).build();
    let there = Config::builder().max_calls(64).build();
    let pair = pair_with(here.unwrap(), there.unwrap()).await;
    let echo = EchoClient::new(&pair.to_server);
    let callers = (0..1_000).map(|_| tokio::spawn(caller(echo.clone())));
    for caller in join_all(callers).await {
        caller.unwrap().unwrap();
    }
}

async fn caller(echo: EchoClient) -> Result<(), Status> {
    for _ in 0..10 {
        echo.say(message("wait your turn")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_unpolled_or_cancelled_caller_in_the_queue_holds_up_nobody() {
    let here = Config::builder().max_waiting_calls(2).build();
    let there = Config::builder().max_calls(64).build();
    let pair = pair_with(here.unwrap(), there.unwrap()).await;
    let echo = EchoClient::new(&pair.to_server);
    // The last 4 slots are reserved for calls that handlers make.
    let held: Vec<_> = (0..60)
        .map(|_| tokio::spawn(echo.act(message("hold")).into_future()))
        .collect();
    let all_begun = |seen: &crate::support::Seen| seen.begun.load(Ordering::SeqCst) == 60;
    pair.at_server.until(all_begun).await;
    // One waits in the connection and one in the mailbox, so the following calls wait in the queue.
    let before = [1, 2].map(|_| tokio::spawn(echo.say(message("before")).into_future()));
    tokio::task::yield_now().await;
    let mut still = pin!(echo.say(message("still")).into_future());
    assert!(poll!(&mut still).is_pending());
    let late = echo.say(message("late")).timeout(Duration::from_millis(5));
    let status = late.await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.is_safe_to_retry(), "{status}");
    let mut gone = Box::pin(echo.say(message("gone")).into_future());
    assert!(poll!(&mut gone).is_pending());
    let last = tokio::spawn(echo.say(message("last")).into_future());
    tokio::task::yield_now().await;
    drop(gone);

    pair.at_server.release.notify_waiters();
    assert_eq!(last.await.unwrap().unwrap().data, "last");
    // It was nevertheless served when its turn came.
    let Some(Ok(reply)) = futures::FutureExt::now_or_never(still) else {
        panic!("the call before the last one is not over");
    };
    assert_eq!(reply.data, "still");
    for call in held.into_iter().chain(before) {
        call.await.unwrap().unwrap();
    }
}
