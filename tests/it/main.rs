//! The integration tests, through the public API only. There is one module per behaviour.
//! Everything runs in memory, except in tests of sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access_log;
mod announced;
mod arrows;
mod authentication;
mod authorize;
mod backstop;
mod bad_bytes;
mod blocked;
mod blocking;
mod cancel;
mod changing;
mod completion;
mod context;
mod credit;
mod crowd;
mod custom_protocol;
mod deadlines;

mod decoded;
mod descriptors;
mod dispatch;
mod documents;
mod drain;
mod early;
mod ends;
mod errors;
mod events;
mod faults;
mod features;
mod flush;
mod forever;
mod framework_log;
mod gathering;
mod greatest;
mod guests;
mod handshakes;
mod hooks;
mod in_process;
mod large;
mod layer_ends;
mod layers;
mod limits;
mod logged;
mod logs;
mod metrics;
mod mixed;
mod nested;
mod observe;
mod observe_edges;
#[cfg(target_os = "linux")]
mod other_user;
mod packages;
mod peers;
#[cfg(windows)]
mod pipes;
mod protocols;
mod proxy;
mod proxy_protocol;
mod raw;
mod readiness;
mod real_time;
mod reconnect;
mod reconnect_storm;
mod records;
mod relay;
mod reused;
mod schemas;
mod schemes;
mod secrets;
mod shutdown;
mod signals;
mod sockets;
mod spans;
mod spread;
mod states;
mod statuses;
mod storm;
mod streams;
mod support;
mod times;
#[cfg(feature = "tls")]
mod tls;
mod transports;
mod words;
mod workers;

/// The simulation of the bench `storm`.
#[allow(dead_code, reason = "the bench uses the rest")]
#[path = "../../benches/storm"]
mod storm_simulation {
    pub(crate) mod scenarios;
    pub(crate) mod simulation;
}
