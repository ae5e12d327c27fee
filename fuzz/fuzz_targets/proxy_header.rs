//! Feeds any bytes into the reader of headers of proxies, in any parts.

#![no_main]

#[path = "../../src/transport"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the server and its tests use the rest"
)]
mod transport {
    pub(crate) mod proxy_header;

    #[path = "proxy_header/any_bytes.rs"]
    pub(crate) mod any_bytes;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| transport::any_bytes::run(data));
