//! More callers than the connection has slots. First they wait for a slot of the other side, then
//! for room on this side.

use crate::{
    curve::Curve,
    echo::EchoClient,
    load::{BYTES, Load, Pace},
    table::Table,
    world::{one_thread, over_memory, parrot},
};

const CALLERS: [usize; 6] = [100, 1_000, 5_000, 10_000, 20_000, 50_000];

pub(crate) fn measure(pace: Pace) -> Table {
    let mut curve = Curve::new("callers", &[]);
    for callers in CALLERS {
        let cost = one_thread().block_on(async {
            let (peer, _server) = over_memory(parrot()).await;
            let mut load = Load::of(&EchoClient::new(&peer), callers, BYTES);
            load.measure(pace).await
        });
        curve.push(callers, cost);
    }
    curve.per_call()
}
