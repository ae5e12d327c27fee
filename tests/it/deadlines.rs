//! Every call ends in time. Time is paused, so every wait is a wait for the clock.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;
use wawo::{Body, Code, Config, Delivery, Request};

use crate::support::{EchoClient, echo_service::method, message, pair, pair_with};

/// The maximum delay of a call's end: the interval at which deadlines are checked, and the
/// resolution of the clock.
const LATE: Duration = Duration::from_millis(10);

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_timeout_and_its_handler_is_dropped() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let begin = Instant::now();
    let timeout = Duration::from_millis(300);
    let status = echo
        .act(message("wait"))
        .timeout(timeout)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!((timeout..timeout + LATE).contains(&begin.elapsed()));
    let seen = &pair.at_server;
    seen.until(|seen| seen.dropped.load(Ordering::SeqCst) == 1)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_timeout_has_the_default_on_both_sides() {
    let config = Config::builder()
        .default_timeout(Some(Duration::from_secs(2)))
        .build()
        .unwrap();
    let pair = pair_with(config, Config::default()).await;
    let echo = EchoClient::new(&pair.to_server);
    let left = echo.act(message("deadline")).await.unwrap();
    assert_eq!(left.data, "2000");
    let begin = Instant::now();
    let status = echo.act(message("wait")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(begin.elapsed() < Duration::from_secs(2) + LATE);
}

#[tokio::test(start_paused = true)]
async fn the_time_left_goes_over_the_wire() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let call = echo.act(message("deadline"));
    let left = call.timeout(Duration::from_millis(1234)).await.unwrap();
    assert_eq!(left.data, "1234");
}

#[tokio::test(start_paused = true)]
async fn a_call_inherits_the_deadline_of_the_handler_that_makes_it() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    // The inner call ends before its own default timeout of ten seconds.
    let begin = Instant::now();
    let call = echo
        .act(message("call back"))
        .timeout(Duration::from_secs(1));
    call.await.unwrap();
    assert!(begin.elapsed() < LATE);
    let context_free = echo.act(message("deadline")).detached().await.unwrap();
    assert_eq!(context_free.data, "10000");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_reading_ends_calls_by_their_deadline() {
    let (here, there) = tokio::io::duplex(4096);
    let pair = crate::support::pair_over(here, there, Config::default(), Config::default()).await;
    // The server's driver is stopped, so nothing is read any more.
    let echo = EchoClient::new(&pair.to_server);
    let timeout = Duration::from_millis(200);
    let big = echo.act(message("wait")).timeout(timeout);
    let status = big.await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.delivery(), Delivery::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_the_default_of_its_carrier_once_and_only_if_it_has_none() {
    let config = |seconds| {
        let timeout = Some(Duration::from_secs(seconds));
        Config::builder().default_timeout(timeout).build().unwrap()
    };
    let request = || Request::new(&method::SAY, Body::One(Default::default()));
    let now = Instant::now().into_std();
    let mut first = request();
    first.take_default_timeout(&config(3));
    first.take_default_timeout(&config(2));
    assert_eq!(first.deadline(), Some(now + Duration::from_secs(3)));
    let mut without = request();
    without.set_no_deadline();
    without.take_default_timeout(&config(3));
    assert_eq!(without.deadline(), None);
    let own = Some(now + Duration::from_secs(9));
    let mut with = request();
    with.set_deadline(own);
    with.take_default_timeout(&config(3));
    assert_eq!(with.deadline(), own);
}
