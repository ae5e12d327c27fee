//! Messages and RPC from `.proto` files: typed services over framed connections, callable from
//! both ends.
//!
//! What goes wrong beside the calls of a program goes to [`tracing`](https://docs.rs/tracing), under the
//! targets `wawo` and `wawo_protocol`: it is seen once a subscriber is set, as by
//! `tracing_subscriber::fmt().init()`. Errors of handlers that the caller does not see whole are logged with
//! method and peer; connections that a limit keeps out, calls that a drain cuts and one-way messages that
//! cannot be sent are warnings; bad requests and refused one-way messages are at the level `DEBUG`.

#![warn(clippy::print_stdout)]

extern crate self as wawo;

mod backstop;
mod body;
mod call;
mod call_depth;
mod call_target;
mod channel;
mod client;
mod clock;
mod codec;
#[doc(hidden)]
pub mod codegen;
mod connection;
mod context;
mod custom_protocol;
mod decoding;
mod descriptor;
mod dispatch;
mod error_chain;
mod expiry;
mod extensions;
mod in_process;
pub mod layer;
mod layout;
mod panic;
mod peer;
mod peer_id;
mod request;
mod response;
mod response_future;
mod serve;
mod server;
mod services;
mod status;
pub mod transport;
mod wake_io;
mod wire;

pub use wawo_protocol::{
    CloseCode, Code, Config, ConfigBuilder, ConfigError, ConnectionError, Limits, MessageBytes,
    Metadata, MetadataError, MethodId, ServiceId, Setting,
};

pub use crate::{
    body::{Body, Sender, StreamEnd, Streaming},
    call::{Call, CancelGuard, RawClient},
    call_target::{CallTarget, OneWayOnly, ReplyAbility, Start, TwoWay},
    channel::Channel,
    client::{ConnectError, PeerBuilder},
    codec::{Codec, Prost},
    connection::PeerSnapshot,
    context::{Context, spawn},
    custom_protocol::{CustomPacket, CustomProtocol, PacketCodec, PacketKind, PacketProtocol},
    descriptor::{
        DescriptorError, Idempotency, MethodBuilder, MethodDescriptor, ServiceBuilder,
        ServiceDescriptor, Shape,
    },
    dispatch::{Dispatch, DuplicateService, RawService},
    extensions::Extensions,
    in_process::InProcess,
    layout::Layout,
    peer::{
        ConnectionLimit, CutPeer, DrainReport, Events, Peer, PeerEvent, PeerExtensions, WeakPeer,
    },
    peer_id::PeerId,
    request::{Request, RequestParts},
    response::{EndOfCall, Response, ResponseParts},
    response_future::ResponseFuture,
    serve::{CallService, Layered, Serve},
    server::{
        Arrival, Gateway, Guest, Protocol, Recognition, ServeError, Server, ServerBuilder,
        ServerConfig, ServerConfigBuilder, ServerHandle, shutdown_signal,
    },
    status::{BoxError, Delivery, Detail, OrStatus, Result, Status},
    transport::{
        Address, AddressError, OpenListener, SocketOptions, SocketOptionsError, Transport,
    },
};

/// The well-known types of protobuf, as generated code has them. `Empty` is `()`, and the wrappers,
/// such as `StringValue`, are what they wrap.
pub mod well_known {
    pub use prost_types::{
        Any, Duration, FieldMask, ListValue, NullValue, Struct, Timestamp, Value, value,
    };
}

/// Includes the code that `wawo_build` generated for a package of the schema, into the module
/// where it stands.
///
/// ```text
/// pub mod chat {
///     wawo::include_proto!("chat.v1");
/// }
/// ```
///
/// The package is named as in the schema, such as `"type.v1"` or `"My.Package"`; a schema without
/// one is `"_"`.
///
/// Packages that refer to each other find each other by relative paths, so their modules must be
/// nested and named like the packages: in snake case, keywords as `r#type`. `Builder::include_file`
/// of `wawo_build` writes such modules.
///
/// ```text
/// pub mod chat {
///     pub mod v1 {
///         wawo::include_proto!("chat.v1");
///     }
///     pub mod rooms {
///         wawo::include_proto!("chat.rooms");
///     }
/// }
/// ```
#[macro_export]
macro_rules! include_proto {
    ($package:literal) => {
        include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
    };
}
