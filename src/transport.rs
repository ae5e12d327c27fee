//! Transports, which carry the bytes of a connection, and the ways to open and accept them.
//!
//! A [`Transport`] is anything that carries bytes both ways. There are three ways to get one: a
//! [`Connect`] opens it to an [`Address`], a [`Listener`] accepts it, or a program has it already.
//!
//! ```text
//!  PeerBuilder ── address ──► Connect ──────────► Transport
//!       Server ── address ──► Listen ─► Listener ─► Transport
//! ```
//!
//! Each scheme of addresses belongs to one [`Connect`] and one [`Listen`]. [`Tcp`], [`Unix`] (Unix only),
//! [`NamedPipe`] (Windows only) and [`Memory`] are built in. Others are given to a builder, by
//! [`PeerBuilder::connector`](crate::PeerBuilder::connector) and
//! [`ServerBuilder::listener`](crate::ServerBuilder::listener), and apply to that builder only: nothing
//! is registered for the whole process.

mod address;
mod any;
mod attempts;
#[cfg(any(unix, windows))]
mod busy;
mod connect;
mod facts;
mod listen;
mod memory;
mod named_pipe;
mod open;
mod options;
pub(crate) mod proxy_header;
mod replay;
mod schemes;
mod socket;
mod tcp;
#[cfg(feature = "tls")]
pub mod tls;
mod tls_record;
mod unix;

use std::pin::Pin;

#[cfg(feature = "tls")]
pub(crate) use crate::transport::address::HostPort;
pub use crate::transport::{
    address::{Address, AddressError},
    any::{Transport, TransportWithFacts},
    attempts::Attempts,
    connect::Connect,
    facts::PeerFacts,
    listen::{AcceptedSocket, Listen, Listener},
    memory::Memory,
    named_pipe::NamedPipe,
    open::{IntoTransport, OpenListener, StdSocket, TokioTransport},
    options::{SocketOptions, SocketOptionsError},
    proxy_header::ProxyHeaderError,
    tcp::Tcp,
    unix::Unix,
};
pub(crate) use crate::transport::{
    replay::Replay,
    schemes::{Connectors, ListenSchemes},
    tls_record::{TLS_ALERT, begins_tls},
};

/// A boxed future, which traits return that are used as `dyn`: `Box::pin(async move { .. })` makes one.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
