//! Compiles `.proto` files to wawo services and messages, in a build script. The compiler is pure
//! Rust; there is no `protoc` to install.
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     Ok(wawo_build::compile(&["proto/chat.proto"], &["proto"])?)
//! }
//! ```
//!
//! For each package, the compiler writes a file named after the package to `OUT_DIR`. Include it
//! with `wawo::include_proto!("chat.v1")`. It contains
//!
//! - the messages, as prost generates them; `bytes` fields are `bytes::Bytes` and share the buffer
//!   that they were read into;
//! - for each service a module, re-exported, with the trait to implement, a server, a client, and
//!   the descriptors;
//! - `FILE_DESCRIPTOR_SET`, the encoded descriptors of the package's files and their imports.
//!
//! Comments become docs. Code in them is marked as text, so that it is not run as a doctest. Brackets
//! and tags are shown as they are: only links to web pages are links.
//!
//! A message that holds other types has a module. If a package has the same one, such as `shop.v1.cart`
//! beside a message `Cart` of `shop.v1`, the code of the package is within that module, in the file of
//! the message.
//!
//! Files in `OUT_DIR` that the last build has written and this one does not are removed (see
//! [`Builder::out_dir`] for folders within it). Two calls of one build script may not write one file,
//! unless with the same content, as for an import of both.
//!
//! Schemas begin with `syntax = "proto3";` or are proto2. Editions are an error, since neither protox
//! nor prost supports them.
//!
//! A schema may set the numbers of services and methods on the wire, that a method is one-way, and
//! that a handler continues when its call is cancelled. This is `proto/chat.proto`:
//!
//! ```proto
//! syntax = "proto3";
//! package chat.v1;
//!
//! import "google/protobuf/empty.proto";
//! import "wawo/options.proto"; // this crate supplies both
//!
//! service Chat {
//!   option (wawo.service).id = 100;
//!
//!   rpc Join(JoinRequest) returns (JoinReply);
//!   // One-way: a handler returns nothing, `()`, and the caller gets no status.
//!   rpc Typing(Notice) returns (google.protobuf.Empty) {
//!     option (wawo.method) = { id: 3 one_way: true };
//!   }
//!   // A handler that has begun runs to its end, even if the caller cancels or disconnects, or the
//!   // deadline passes. See `wawo::Context::cancelled`.
//!   rpc Leave(JoinRequest) returns (JoinReply) {
//!     option (wawo.method).run_to_completion = true;
//!   }
//!   // The handler may block its thread. See `wawo::layer::BlockingLayer`.
//!   rpc Store(JoinRequest) returns (JoinReply) {
//!     option (wawo.method).blocking = true;
//!   }
//!   // Calls that set no timeout have 30 s. By default they have 10 s, and streams no deadline.
//!   rpc Search(JoinRequest) returns (JoinReply) { option (wawo.method).timeout_ms = 30000; }
//! }
//!
//! message JoinRequest { string room = 1; }
//! message JoinReply { uint32 members = 1; }
//! message Notice { string name = 1; }
//! ```
//!
//! # Code that is checked in
//!
//! Generated code needs the crate `wawo` only, so it can be checked in, and then users of the crate
//! need no build script and build no compiler. A test or a program of the repository writes it:
//!
//! ```no_run
//! # fn main() -> Result<(), wawo_build::Error> {
//! let builder = wawo_build::Builder::new().out_dir("src/generated").include_file("mod.rs");
//! builder.compile(&["proto/chat.proto"], &["proto"])
//! # }
//! ```
//!
//! The crate includes it by `mod generated;`.
//!
//! # Settings
//!
//! [`Builder`] has more settings: paths of existing types, attributes, servers or clients only, a
//! precompiled descriptor set, and the settings of prost-build.

mod builder;
mod collisions;
mod comments;
mod derives;
mod descriptor_set;
mod diagnose;
mod error;
mod externs;
mod field_numbers;
mod files;
mod floats;
mod generate;
mod ids;
mod imports;
mod includes;
mod layouts;
mod locations;
mod modules;
mod names;
mod options;
mod output;
mod packages;
mod panics;
mod position;
mod schema;
mod source;

use std::path::Path;

pub use crate::{builder::Builder, error::Error};

/// Compiles `.proto` files with the defaults. `includes` are the folders that contain the files and
/// their imports. The name of a file is its path below one of these folders.
///
/// # Errors
///
/// If there is nothing to compile, since no file is given or none declares anything, a file cannot be
/// found, read or compiled, an option is wrong, two ids or two Rust names collide, nothing is left of
/// a name in Rust, a file cannot be written, or an earlier call of this process has written another
/// content to it. The error names file, line and column if they are known, and a correction.
pub fn compile(protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> Result<(), Error> {
    Builder::new().compile(protos, includes)
}

/// The README, so that its examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
