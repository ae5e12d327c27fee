//! Feeds any bytes into the decoder.

#![no_main]

#[path = "../../crates/wawo-protocol/tests/it/fuzz/decode.rs"]
mod decode;

libfuzzer_sys::fuzz_target!(|data: &[u8]| decode::run(data));
