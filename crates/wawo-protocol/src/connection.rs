//! The state of one connection: packets and time in, bytes and events out.
//!
//! ```text
//!   input ──► fast_path, direct_read                  start ──► caller ─┐
//!         └─► receive ──► caller, callee              reply ──► callee ─┼─► send ──► output
//!                             │      │                                  │
//!                             └──► calls (a table and the credit of each role) ◄───────────┘
//! ```
//!
//! A call is one [`Call`](crate::call::Call) for both roles. `receive` and `send` move its messages in
//! either role; `start` and `caller` do what only a caller does, `reply` and `callee` what only a callee
//! does. The other files each own a part of the state, and hide its fields: `state` (the life of the
//! connection), `waiting_calls`, `load`, `health`, `flood`, `input`, `progress`, `timeout_cause`.

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
