//! What authors of add-on crates want to do, with wawo's public API only.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod guests;
mod layers;
mod limits;
mod proxy;
mod run_time;
mod support;
