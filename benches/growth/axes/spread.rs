//! The same number of callers on more connections. On one connection, a write carries many calls;
//! with one connection per caller, it carries one.

use wawo::Config;

use crate::{
    curve::Curve,
    load::{BYTES, Load, Pace},
    table::Table,
    world::{Listening, note_file_limit, one_thread, within_file_limit},
};

const CONNECTIONS: [usize; 5] = [1, 10, 100, 500, 2_000];

const CALLERS: usize = 2_000;

pub(crate) fn measure(pace: Pace) -> Table {
    let mut curve = Curve::new("connections", &[]);
    let config = Config::builder()
        .max_calls(CALLERS as u32)
        .build()
        .expect("settings in their ranges");
    for connections in within_file_limit(&CONNECTIONS) {
        let cost = one_thread().block_on(async {
            let server = Listening::start(config.clone()).await;
            let mut clients = Vec::new();
            for _ in 0..connections {
                clients.push(server.connect().await);
            }
            let mut load = Load::default();
            for client in clients.iter().cycle().take(CALLERS) {
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
