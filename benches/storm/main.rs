//! Simulates the storm of clients that come back after their servers were gone, and measures what a
//! handshake costs a server. `docs/scale.md` has the figures and what they mean.
//!
//! ```sh
//! cargo bench --bench storm               # 1,000,000 clients and 100 servers, in some minutes
//! cargo bench --bench storm -- outage     # some of the tables: cost, dies, rolling, outage, overload, falls
//! cargo bench --bench storm -- --test     # two of the servers and their clients, to see that it runs
//! ```

mod cost;
mod scenarios;
mod simulation;
mod tables;

use std::env;

use crate::tables::{Scale, TABLES};

fn main() {
    let mut scale = Scale::FULL;
    let mut names = Vec::new();
    for argument in env::args().skip(1) {
        match argument.as_str() {
            // Cargo passes it to every bench.
            "--bench" => {}
            "--test" => scale = Scale::TEST,
            name => names.push(name.to_owned()),
        }
    }
    for table in &TABLES {
        if names.is_empty() || names.iter().any(|name| name == table.name) {
            println!("## {}: {}\n", table.name, table.title);
            println!("{}", (table.print)(scale));
        }
    }
}
