//! Measures the cost of a call as the work around it grows: more connections, more calls in flight,
//! larger messages. One axis grows at a time, and each axis gives a table.
//!
//! ```sh
//! cargo bench --bench growth                        # all axes, in about two minutes
//! cargo bench --bench growth -- connections,size    # some of them
//! cargo bench --bench growth -- --test              # each point for a moment, to see that it runs
//! ```
//!
//! Calls are unary echoes of 32 bytes, with 64 in flight on one connection, unless the axis says
//! otherwise. Both ends are in this process and, except for `fairness`, on one thread. So the CPU
//! time of a call is the sum of both ends, the runtime and the kernel's part of TCP, and the rate
//! of calls is about its inverse. The figures of a point are the median of several slices of time.

mod axes;
mod curve;
mod load;
mod process;
mod table;
mod world;

use std::{env, process::ExitCode};

use wawo_test_protos::tests::echo;

use crate::{axes::AXES, load::Pace};

fn main() -> ExitCode {
    let mut pace = Pace::FULL;
    let mut names = Vec::new();
    for argument in env::args().skip(1) {
        match argument.as_str() {
            // Cargo passes it to every bench.
            "--bench" => {}
            "--test" => {
                println!("Each point for a moment: the figures mean nothing.\n");
                pace = Pace::TEST;
            }
            picked => names.extend(picked.split(',').map(str::to_owned)),
        }
    }
    if let Some(unknown) = names.iter().find(|name| !is_axis(name)) {
        let known: Vec<_> = AXES.iter().map(|axis| axis.name).collect();
        eprintln!(
            "no axis is named `{unknown}`; there are {}",
            known.join(", ")
        );
        return ExitCode::FAILURE;
    }
    process::open_more_files();
    for axis in &AXES {
        if names.is_empty() || names.iter().any(|name| name == axis.name) {
            println!("## {}: {}\n", axis.name, axis.grows);
            println!("{}", (axis.measure)(pace));
        }
    }
    ExitCode::SUCCESS
}

fn is_axis(name: &str) -> bool {
    AXES.iter().any(|axis| axis.name == name)
}
