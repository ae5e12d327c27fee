//! More calls in flight on one connection, with enough slots on both sides.

use wawo::Config;

use crate::{
    curve::Curve,
    echo::EchoClient,
    load::{BYTES, Load, Pace},
    table::Table,
    world::{one_thread, over_memory, parrot},
};

const IN_FLIGHT: [usize; 5] = [1, 10, 100, 1_000, 10_000];

pub(crate) fn measure(pace: Pace) -> Table {
    let mut curve = Curve::new("in flight", &[]);
    let config = Config::builder()
        .max_calls(10_000)
        .build()
        .expect("settings in their ranges");
    for in_flight in IN_FLIGHT {
        let cost = one_thread().block_on(async {
            let (peer, _server) = over_memory(parrot().config(config.clone())).await;
            let mut load = Load::of(&EchoClient::new(&peer), in_flight, BYTES);
            load.measure(pace).await
        });
        curve.push(in_flight, cost);
    }
    curve.per_call()
}
