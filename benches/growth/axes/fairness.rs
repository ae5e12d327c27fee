//! A peer that calls from time to time, alone on the server and beside a peer at full load.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::{
    runtime::Builder,
    time::{MissedTickBehavior, interval},
};
use wawo::Config;

use crate::{
    curve::with_commas,
    echo::{EchoClient, Message},
    load::{BYTES, Load, Pace},
    table::Table,
    world::Listening,
};

/// Calls in flight of the other peer.
const FULL_LOAD: usize = 512;

/// The interval between calls of the measured peer.
const EVERY: Duration = Duration::from_millis(5);

pub(crate) fn measure(pace: Pace) -> Table {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let heads = vec!["it is", "p50 us", "p99 us", "worst us", "calls/s beside"];
    let mut table = Table::new(heads);
    for (is, callers) in [("alone", 0), ("beside", FULL_LOAD)] {
        // Spawned, so that it runs on the same threads as everything else.
        let measured = runtime.spawn(async move {
            let server = Listening::start(Config::default()).await;
            let load = Load::of(&server.connect().await, callers, BYTES);
            // With few calls, the same certainty needs more time.
            let time = 3 * pace.measured();
            let latency = latency(&server.connect().await, time).await;
            (latency, load.calls() as f64 / time.as_secs_f64())
        });
        let (latency, rate) = runtime.block_on(measured).expect("no panic");
        let us = |nanos: u64| format!("{:.0}", nanos as f64 / 1000.0);
        table.push(vec![
            is.to_owned(),
            us(latency.value_at_quantile(0.5)),
            us(latency.value_at_quantile(0.99)),
            us(latency.max()),
            with_commas(rate as u64),
        ]);
    }
    table
}

/// The latencies of calls that are made from time to time, in nanoseconds.
async fn latency(client: &EchoClient, time: Duration) -> Histogram<u64> {
    let mut latency = Histogram::new(3).expect("three digits");
    let data = Bytes::from(vec![7; BYTES]);
    let (begin, mut ticks) = (Instant::now(), interval(EVERY));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while begin.elapsed() < time {
        ticks.tick().await;
        let called = Instant::now();
        let call = client.say(Message { data: data.clone() });
        call.await.expect("an echo");
        latency
            .record(called.elapsed().as_nanos() as u64)
            .expect("less than centuries");
    }
    latency
}
