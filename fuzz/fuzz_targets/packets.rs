//! Runs one state machine, a peer that sends anything, and a user, and checks them against the
//! rules.

#![no_main]

#[path = "../../crates/wawo-protocol/tests/it"]
#[allow(dead_code, reason = "the tests use the rest")]
mod it {
    pub(crate) mod model;
    pub(crate) mod pair;
    pub(crate) mod fuzz {
        pub(crate) mod packets;
    }
}

use it::{fuzz, model, pair};

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::packets::run(data));
