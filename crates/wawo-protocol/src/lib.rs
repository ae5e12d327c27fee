//! The wire protocol of wawo: packets, and the state of a connection, as values.
//!
//! Two *sides* share a connection, and either may call the other. This crate defines the packets that
//! travel between them, and how each side acts on them. It has no sockets, no clock and no runtime: bytes
//! and time come in as arguments; bytes, events and the next timeout come out. So the whole protocol can
//! be tested by two values and a loop, and fuzzed.
//!
//! ```text
//!    transport ──bytes──► input ──► Connection::poll_event ──► events ──► driver
//!    transport ◄──bytes── Connection::output ◄── start_call, reply, end, .. ◄──┘
//! ```
//!
//! The run loop of a driver, without its waiting:
//!
//! ```
//! # use std::time::{Duration, Instant};
//! # use bytes::{Bytes, BytesMut};
//! # use wawo_protocol::{Config, Connection, DeadlineSource, Event, MethodId, NewCall, ServiceId, Metadata};
//! # let now = Instant::now();
//! let mut caller = Connection::connecting(Config::default(), Bytes::new(), now)?;
//! let mut callee = Connection::<()>::accepting(Config::default(), now);
//! let call = NewCall {
//!     service: ServiceId(100),
//!     method: MethodId(1),
//!     deadline: Some(now + Duration::from_secs(1)),
//!     deadline_source: DeadlineSource::Call,
//!     depth: 0,
//!     metadata: Metadata::new(),
//!     message: Some(Bytes::from_static(b"ping").into()),
//!     end: true,
//!     one_way: false,
//! };
//! caller.start_call(now, call, "my token").unwrap();
//!
//! // The output of one side is the input of the other.
//! # fn carry<T>(from: &mut Connection<T>) -> BytesMut {
//! #     let mut wire = BytesMut::new();
//! #     from.fill_output();
//! #     while !from.output().is_empty() {
//! #         let segment = from.output().first().to_vec();
//! #         wire.extend_from_slice(&segment);
//! #         from.output().advance(segment.len());
//! #     }
//! #     wire
//! # }
//! let mut wire = carry(&mut caller);
//! while let Some(event) = callee.poll_event(now, &mut wire)? {
//!     match event {
//!         // Here the callee decides whether it takes the connection.
//!         Event::Opened(_) => callee.accept(now, Bytes::new())?,
//!         Event::Called(called) => {
//!             callee.reply(called.call.unwrap(), Metadata::new(), Bytes::from_static(b"pong"));
//!         }
//!         _ => {}
//!     }
//! }
//! let mut wire = carry(&mut callee);
//! while let Some(event) = caller.poll_event(now, &mut wire)? {
//!     if let Event::Ended(ended) = event {
//!         assert_eq!((ended.token, &ended.message.unwrap()[..]), ("my token", &b"pong"[..]));
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The normative text of the protocol is `docs/protocol.md` in the repository; this crate is its
//! reference.

mod buffer_pool;
mod call;
mod code;
mod config;
mod connection;
mod error;
#[cfg(test)]
mod graph;
mod hello;
mod id;
mod limits;
mod message;
mod metadata;
mod output;
pub mod packet;
mod relocation;
mod schema;
pub mod time;

pub use crate::{
    buffer_pool::BufferPool,
    code::{CloseCode, Code},
    config::{Config, ConfigBuilder},
    connection::{
        CallOutcome, Connection, DeadlineSource, Event, InboundCall, NewCall, Overload, Refusal,
        SentCount, StartedCall,
    },
    error::{ConnectionError, PeerMisbehaved},
    hello::{CredentialsTooLong, Hello},
    id::{CallId, DERIVED_ID, MethodId, ServiceId, Side},
    limits::{
        Limits, MAX_LIMIT, MIN_CALLS, MIN_CREDIT_BYTES, MIN_MESSAGE_BYTES, MIN_METADATA_BYTES,
        MIN_METADATA_ENTRIES, MIN_PACKET_BYTES,
    },
    message::{MESSAGE_COST_BYTES, MessageBytes},
    metadata::{Metadata, MetadataError},
    output::Output,
    relocation::{Relocation, RelocationError},
    schema::{Fingerprint, Shape},
};
pub use wawo_settings::{ConfigError, Setting};

/// The README, so that its examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
