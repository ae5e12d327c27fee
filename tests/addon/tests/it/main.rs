//! Tests of the things that an author of an add-on crate does, with wawo's public API only.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod guests;
mod layers;
mod limits;
mod proxy;
mod run_time;
mod support;
