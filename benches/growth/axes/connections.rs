//! More connections, each with one caller. No calls can share a write: each call is a write and a
//! read on both sides.

use wawo::Config;

use crate::{
    curve::Curve,
    load::{BYTES, Load, Pace},
    table::Table,
    world::{Listening, note_file_limit, one_thread, within_file_limit},
};

const CONNECTIONS: [usize; 5] = [1, 10, 100, 500, 2_000];

pub(crate) fn measure(pace: Pace) -> Table {
    let mut curve = Curve::new("connections", &[]);
    for connections in within_file_limit(&CONNECTIONS) {
        let cost = one_thread().block_on(async {
            let server = Listening::start(Config::default()).await;
            // All connect before any of them calls. Otherwise most calls would be made meanwhile.
            let mut clients = Vec::new();
            for _ in 0..connections {
                clients.push(server.connect().await);
            }
            let mut load = Load::default();
            for client in &clients {
                load.add_echo(client, BYTES);
            }
            load.measure(pace).await
        });
        curve.push(connections, cost);
    }
    let mut table = curve.per_call();
    note_file_limit(&mut table, CONNECTIONS[CONNECTIONS.len() - 1]);
    table
}
