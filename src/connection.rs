//! One connection: the task that drives its socket, and the state that others share with it.
//!
//! A [`Driver`] owns the transport and the state machine of the protocol. It is one task, and has no lock
//! on either. All others hold a [`ConnectionHandle`], and leave [commands](mailbox::Command) in its
//! [mailbox](mailbox::Mailbox).
//!
//! ```text
//!   peer ──► start, readiness ──► mailbox ──► driver ──► transport
//!            reader ◄─ inbox ◄───────────────────┤
//!            stream_task ─► outbox ──────────────┤
//!   peer ◄── owner ◄─────────────────────────────┘
//! ```
//!
//! There is no driver before the hellos are exchanged: a [`NewConnection`] does that. Where there is a peer
//! already, an [`EarlyHandle`] watches its mailbox meanwhile.
//!
//! A connection does not know what a peer is: it reports events to its [`Owner`], and hands the
//! [`Caller`](crate::request::Caller) that it was given to the requests of the other side. So a peer may have
//! several connections, and other peers have none.

mod activity;
mod announced;
mod deadline_watch;
mod decision;
mod drain;
mod driver;
mod early;
mod gauges;
mod handle;
mod inbox;
mod incoming;
mod input;
mod loss;
mod mailbox;
mod message_copier;
mod new_connection;
mod observation;
mod outbox;
mod outgoing;
mod owner;
mod reader;
mod readiness;
mod schemas;
mod snapshot;
mod start;
mod state;
mod stream_task;
mod warnings;
mod writer;

pub use crate::connection::snapshot::PeerSnapshot;
pub(crate) use crate::connection::{
    activity::{Activity, ActivityRecord},
    decision::PendingCheck,
    drain::{
        CLOSE_PACKET_TIMEOUT, DRAINED, DrainOutcome, DrainProgress, GRACE_OVER, ended_by_drain,
    },
    driver::Driver,
    early::EarlyHandle,
    handle::ConnectionHandle,
    mailbox::UnsentMessages,
    new_connection::{NewConnection, NewTransport},
    owner::{ConnectionEvent, Owner},
    readiness::Readiness,
    schemas::Schemas,
    start::StartError,
    state::ConnectionState,
    warnings::{ConnectionWarnings, MetLimit, log_end},
};
