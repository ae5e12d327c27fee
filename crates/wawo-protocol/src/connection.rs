//! The state of one connection: packets and time in, bytes and events out.
//!
//! ```text
//!   input ──► read ──► fast_path                      start ──► caller ─┐
//!               └────► receive ──► caller, callee     reply ──► callee ─┴─► send ──► output
//!                         └───────────────┴──► calls ◄──────────┴────────────┘
//! ```
//!
//! `machine` defines [`Connection`] and its parts. The modules in the picture except `calls`, and also
//! `overload`, `timers` and `congestion`, import it and add functions to it. A call is one
//! [`Call`](crate::call::Call) for both roles; `calls` has all calls, with the credit of each role. `receive`
//! and `send` move messages of a call in either role. `start` and `caller` have the functions that only a
//! caller needs, `callee`, `reply` and `overload` those of a callee, and `role` the fields that only one of
//! them needs. `fit` keeps messages and statuses within the limits of the other side, and `event` has the types
//! that a driver exchanges with the connection; `refusal` says why calls are refused.
//!
//! `machine` imports the modules that each own a part of the state and hide its fields: `state` (the life
//! of the connection), `waiting_calls`, `load`, `health`, `flood`, `input`, `progress`, `direct_read`,
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
mod overload;
mod progress;
mod read;
mod receive;
mod refusal;
mod reply;
mod role;
mod send;
mod start;
mod state;
mod timeout_cause;
mod timers;
mod waiting_calls;

pub use crate::connection::{
    event::{CallOutcome, Event, InboundCall, NewCall},
    machine::Connection,
    refusal::{Overload, Refusal},
    send::SentCount,
    start::StartedCall,
    timeout_cause::DeadlineSource,
};
