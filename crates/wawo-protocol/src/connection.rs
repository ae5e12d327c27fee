//! The state of one connection: packets and time in, bytes and events out.
//!
//! ```text
//!   input ──► read ──► fast_path                      start ──► caller ─┐
//!               └────► receive ──► caller, callee     reply ──► callee ─┴─► send ──► output
//!                         └───────────────┴──► calls ◄──────────┴────────────┘
//! ```
//!
//! `machine` has the parts of a connection; the other modules with functions of [`Connection`] are above
//! it. A call is one [`Call`](crate::call::Call) for both roles, in `calls`, with the credit of its role.
//! `receive` and `send` move its messages in either role; `start` and `caller` do what only a caller does,
//! `callee` and `reply` what only a callee does; `role` has the facts that only one of them keeps.
//!
//! Below `machine`, each module owns a part of the state, and hides its fields: `state` (the life of the
//! connection), `waiting_calls`, `load`, `health`, `flood`, `input`, `progress`, `direct_read`,
//! `timeout_cause`.

mod callee;
mod caller;
mod calls;
mod congestion;
mod direct_read;
mod event;
mod fast_path;
mod fit;
mod flood;
mod health;
mod input;
mod load;
mod machine;
mod progress;
mod read;
mod receive;
mod reply;
mod role;
mod send;
mod start;
mod state;
mod timeout_cause;
mod timers;
mod waiting_calls;

pub use crate::connection::{
    event::{CallOutcome, Event, InboundCall, NewCall, Refusal},
    machine::Connection,
    send::SentCount,
    start::StartedCall,
    timeout_cause::DeadlineSource,
};
