//! The task that connects a peer again and again.
//!
//! ```text
//!                  ┌──────────── Schedule: when to dial ────────────┐
//!   Supervisor ────┤                                                │
//!     │ one at a time                                               │
//!     ▼                                                             ▼
//!   attempt: Dial (socket, TLS, hellos) ──► driver ──► on_connect ──► RedialLink: carries the calls
//! ```
//!
//! It holds the [link](super::redial_link::RedialLink) and not the handle of the peer, so that it ends when
//! the last handle is dropped. If its runtime ends, the peer is closed.

mod attempt;
mod dial;
mod error;
mod log;
mod random;
mod supervisor;

pub(crate) use crate::peer::redial::{
    dial::Dial,
    error::TryError,
    supervisor::{NewRedialPeer, Supervisor},
};
