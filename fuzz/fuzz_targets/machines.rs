//! Runs two honest state machines with their users.

#![no_main]

#[path = "../../crates/wawo-protocol/tests/it"]
#[allow(dead_code, reason = "the tests use the rest")]
mod it {
    pub(crate) mod pair;
    pub(crate) mod world;
    pub(crate) mod fuzz {
        pub(crate) mod machines;
    }
}

use it::{fuzz, pair, world};

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::machines::run(data));
