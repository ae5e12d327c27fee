//! Messages and RPC from `.proto` files, over connections whose two ends may call each other.
//!
//! You write a schema, implement the trait that is generated for each service, and serve it or call it.
//! Back-end services, chat, games, fleets of devices, editors and agents need the same few things, and wawo
//! has them in one place: calls that always end, streams with credit, one-way messages, calls from the server
//! to its clients, limits on all that a peer can ask for, and an orderly end.
//!
//! # Example
//!
//! The schema:
//!
//! ```proto
//! syntax = "proto3";
//! package ping_pong;
//!
//! service PingPong {
//!   rpc Play(Ping) returns (Pong);
//! }
//!
//! message Ping { bytes ball = 1; }
//! message Pong { bytes ball = 1; }
//! ```
//!
//! The program; `build.rs` calls `wawo_build::compile` for the schema:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use ping_pong::{Ping, PingPong, PingPongClient, PingPongServer, Pong};
//! use wawo::{Context, Peer, Result, Server};
//!
//! # use wawo_test_protos::ping_pong;
//! # #[cfg(any())]
//! mod ping_pong {
//!     wawo::include_proto!("ping_pong");
//! }
//!
//! struct Table;
//!
//! impl PingPong for Table {
//!     async fn play(&self, _cx: Context, ping: Ping) -> Result<Pong> {
//!         Ok(Pong { ball: ping.ball })
//!     }
//! #   async fn usage(&self, _cx: Context, (): ()) -> Result<ping_pong::UsageReply> { Ok(Default::default()) }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
//! // One side:
//! let server = Server::builder().add_service(PingPongServer::new(Table));
//! let server = server.bind("tcp://127.0.0.1:4000").await?;
//! tokio::spawn(server.run());
//!
//! // The other side:
//! let peer = Peer::connect("tcp://127.0.0.1:4000").await?;
//! let ping = Ping { ball: "hello".into() };
//! let call = PingPongClient::new(&peer).play(ping);
//! let pong = call.timeout(Duration::from_secs(1)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The picture
//!
//! ```text
//!   stub ──► Call ──► Peer ═══════ connection, over any Transport ═══════ Peer ──► layers ──► Dispatch
//!    ▲                                                                                          │
//!    │ generated from the schema                                    generated from the schema   ▼
//!  your code                                                                               your handler
//! ```
//!
//! A [`Peer`] is a handle to the remote end. Both ends have one, so a handler can call its caller back by
//! [`Context::peer`]. Layers are tower layers, on either side.
//!
//! # Map
//!
//! | to | see |
//! |---|---|
//! | serve | [`Server`], [`ServerBuilder`], [`ServerConfig`], [`ServerHandle`] (drain, peers, events) |
//! | connect | [`Peer::builder`], [`PeerBuilder`], [`Config`], [`ConnectError`] |
//! | call | [`Call`], [`Channel`] (layers before a peer), [`InProcess`], [`CallTarget`] |
//! | write a handler | [`Context`], [`Status`], [`Streaming`], [`spawn`] |
//! | write a layer | [`layer`], [`Request`], [`Response`], [`EndOfCall`] |
//! | know who is connected | [`Peer`], [`PeerId`], [`PeerEvent`], [`PeerExtensions`], [`PeerSnapshot`] |
//! | see what happens | [`Metrics`], [`observe`] (spans, an access log, a hook), [`guide::observability`] |
//! | carry bytes another way | [`transport`], [`Transport`], [`Address`] |
//! | speak another protocol | [`Protocol`], [`Arrival`], [`Gateway`], [`Guest`]; [`CustomProtocol`] for packets of your own |
//! | work without a schema at build time | [`ServiceDescriptor`], [`RawService`], [`RawClient`] |
//!
//! The pages of [`guide`] show the generated code, streams in both directions, where to keep state, how to
//! test services, and how to see what a server does. `ARCHITECTURE.md` in the repository says how the modules
//! behind these names fit.
//!
//! # Log
//!
//! The life of servers and peers, limits that are met and failures that no caller gets as a whole go to
//! [`tracing`](https://docs.rs/tracing), under targets that begin with `wawo::`. The subscriber of
//! `tracing_subscriber::fmt::init()` shows them. [`guide::observability`] has every target, event and field.

#![warn(clippy::print_stdout)]

extern crate self as wawo;

mod backstop;
mod body;
mod call;
mod call_depth;
mod call_side;
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
pub mod guide;
mod identity;
mod in_process;
pub mod layer;
mod layout;
mod log_limiter;
pub mod metrics;
pub mod observe;
mod observed_start;
mod panic;
mod panic_fence;
mod peer;
mod peer_id;
mod reconnect;
mod request;
mod response;
mod response_future;
mod serve;
mod server;
mod services;
mod status;
mod timer;
pub mod transport;
mod unwinding;
mod wake_io;
mod wire;

pub use wawo_protocol::{
    CloseCode, Code, Config, ConfigBuilder, ConfigError, ConnectionError, CredentialsTooLong,
    Limits, MessageBytes, Metadata, MetadataError, MethodId, Relocation, RelocationError,
    ServiceId, Setting,
};

#[cfg(feature = "tls")]
pub use crate::transport::tls;
pub use crate::{
    body::{Body, Sender, StreamEnd, StreamItem, Streaming, TrySendError},
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
    identity::{Authenticate, Credentials, Identity, Presented, ProvideCredentials, Refusal},
    in_process::InProcess,
    layout::Layout,
    metrics::{Metrics, MetricsSnapshot},
    peer::{
        ConnectionLimit, CutPeer, DrainReport, Events, FailedTry, Peer, PeerEvent, PeerExtensions,
        WeakPeer,
    },
    peer_id::PeerId,
    reconnect::{Backoff, Reconnect, ReconnectBuilder},
    request::{Request, RequestParts},
    response::{EndOfCall, Response, ResponseParts},
    response_future::ResponseFuture,
    serve::{CallService, Layered, Serve},
    server::{
        Arrival, Gateway, Guest, GuestBuilder, Protocol, Recognition, ServeError, Server,
        ServerBuilder, ServerConfig, ServerConfigBuilder, ServerDrain, ServerHandle,
        shutdown_signal,
    },
    status::{BoxError, Delivery, Detail, OrStatus, Result, Status},
    transport::{
        Address, AddressError, OpenListener, ProxyHeaderError, SocketOptions, SocketOptionsError,
        Transport,
    },
};

/// The well-known types of protobuf, as generated code has them. `Empty` is `()`, and the wrappers, such
/// as `StringValue`, are the types that they wrap.
pub mod well_known {
    pub use prost_types::{
        Any, Duration, FieldMask, ListValue, NullValue, Struct, Timestamp, Value, value,
    };
}

/// Includes the code that `wawo_build` generated for a package of the schema, in the module that calls
/// it.
///
/// ```text
/// pub mod chat {
///     wawo::include_proto!("chat.v1");
/// }
/// ```
///
/// The package is named as in the schema, such as `"type.v1"` or `"My.Package"`. For a schema without a
/// package it is `"_"`. The package must be one that the crate's build script compiles; if it is not, the
/// error lists those. A macro that passes the name on takes it as `$name:tt`.
///
/// Code in a folder other than `OUT_DIR`, such as code that is checked in, is included by
/// `include!("path/to/chat.v1.rs")`; that needs no build script.
///
/// Packages refer to each other by relative paths, so their modules must be nested and named like the
/// packages: in snake case, keywords as `r#type`. `Builder::include_file` of `wawo_build` writes such
/// modules. A package whose module is that of a message, such as `shop.v1.cart` beside a message `Cart`
/// with types in it, comes with the package of the message.
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
    ($($package:tt)*) => {
        include!(concat!(
            env!(
                "OUT_DIR",
                "this crate has no build script, so there is no generated code to include: add a `build.rs` that \
                 calls `wawo_build::compile`, and `wawo-build` to `[build-dependencies]`"
            ),
            "/wawo_build_packages.rs"
        ));
        __wawo_include_package!($($package)*);
    };
}
