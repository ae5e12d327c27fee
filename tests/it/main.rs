//! The integration tests: what users see, through the public API only. A module for each
//! behaviour; everything runs in memory unless a socket is what is tested.

mod bad_bytes;
mod context;
mod deadlines;
mod dispatch;
mod in_process;
mod layers;
mod peers;
mod streams;
mod support;
mod transports;
