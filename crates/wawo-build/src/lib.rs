//! Turns `.proto` files into wawo services and messages, from a build script. Pure Rust: there is
//! no `protoc` to install.
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     Ok(wawo_build::compile(&["proto/chat.proto"], &["proto"])?)
//! }
//! ```
//!
//! For each package, a file named after it is written to `OUT_DIR`; include it with
//! `wawo::include_proto!("chat.v1")`. It holds
//!
//! - the messages, as prost generates them; `bytes` fields are `bytes::Bytes` and share the buffer
//!   that they were read into;
//! - for each service a module, re-exported, with the trait to implement, a server, a client, and
//!   the descriptors;
//! - `FILE_DESCRIPTOR_SET`, the encoded descriptors of the package's files and their imports.
//!
//! Comments become docs; code in them is marked as text, so that it is no test.
//!
//! A schema may set how its services are named on the wire, that nothing comes back from a
//! method, and that a handler goes on when its call is cancelled. This is `proto/chat.proto`:
//!
//! ```proto
//! syntax = "proto3";
//! package chat.v1;
//!
//! import "google/protobuf/empty.proto";
//! import "wawo/options.proto"; // both are supplied by this crate
//!
//! service Chat {
//!   option (wawo.service).id = 100;
//!
//!   rpc Join(JoinRequest) returns (JoinReply);
//!   // One-way: a handler returns nothing, `()`, and so there is no status either.
//!   rpc Typing(Notice) returns (google.protobuf.Empty) {
//!     option (wawo.method) = { id: 3 one_way: true };
//!   }
//!   // Once begun, a handler goes on to its end, though the caller gives up or is gone, or the
//!   // deadline passes. See `wawo::Context::cancelled`.
//!   rpc Leave(JoinRequest) returns (JoinReply) {
//!     option (wawo.method).run_to_completion = true;
//!   }
//!   // Its handler may block its thread. See `wawo::layer::BlockingLayer`.
//!   rpc Store(JoinRequest) returns (JoinReply) {
//!     option (wawo.method).blocking = true;
//!   }
//!   // Calls that set no timeout have 30 s. Without this they have 10 s, and streams no end.
//!   rpc Search(JoinRequest) returns (JoinReply) { option (wawo.method).timeout_ms = 30000; }
//! }
//!
//! message JoinRequest { string room = 1; }
//! message JoinReply { uint32 members = 1; }
//! message Notice { string name = 1; }
//! ```
//!
//! [`Builder`] has the rest: paths of types that exist already, attributes, one half only, a
//! precompiled descriptor set, and the settings of prost-build.

mod builder;
mod collisions;
mod comments;
mod diagnose;
mod error;
mod generate;
mod ids;
mod layouts;
mod names;
mod packages;
mod panics;
mod position;
mod schema;
mod source;

use std::path::Path;

pub use crate::{
    builder::Builder,
    error::Error,
    ids::{method_id, service_id},
};

/// Compiles `.proto` files with the defaults. `includes` are the folders in which the files, and
/// what they import, are found; a file's name is its path below one of them.
///
/// # Errors
///
/// If there is nothing to compile, a file cannot be found, read or compiled, an option is wrong, or
/// two ids or two names in Rust collide. The error names file, line and column where it can, and
/// what would be right.
pub fn compile(protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> Result<(), Error> {
    Builder::new().compile(protos, includes)
}
