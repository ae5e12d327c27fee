//! Larger messages, which travel in both directions.

use wawo::Config;

use crate::{
    curve::Curve,
    load::{Load, Pace},
    table::Table,
    world::{Listening, one_thread},
};

const BYTES: [usize; 6] = [16, 256, 4 << 10, 64 << 10, 1 << 20, 16 << 20];

/// Few, so that the largest messages fit into memory.
const IN_FLIGHT: usize = 4;

pub(crate) fn measure(pace: Pace) -> Table {
    let mut curve = Curve::new("bytes", &["MB/s each way", "CPU ns a byte"]);
    let config = Config::builder()
        // The encoding adds some bytes to the data.
        .max_message_bytes((17 << 20) as u32)
        .max_opening_bytes(IN_FLIGHT * (17 << 20))
        .build()
        .expect("settings in their ranges");
    for bytes in BYTES {
        let cost = one_thread().block_on(async {
            let server = Listening::start(config.clone()).await;
            let mut load = Load::of(&server.connect().await, IN_FLIGHT, bytes);
            load.measure(pace).await
        });
        let rate = cost.calls_per_sec * bytes as f64 / 1e6;
        let cpu = cost.cpu.as_secs_f64() * 1e9 / bytes as f64;
        curve.push_with(bytes, cost, vec![format!("{rate:.0}"), format!("{cpu:.2}")]);
    }
    curve.per_byte()
}
