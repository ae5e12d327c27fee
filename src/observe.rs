//! One hook on both sides of a call: spans, traces and logs are made of it, and metrics count in the same places.
//!
//! ```text
//!   a call begins     Observe::began     may return a span, in which the handler is polled
//!                     Observe::inject    the client's observers add metadata, such as the trace
//!   it ends           Observe::ended     once for each call that began, however it ended
//! ```
//!
//! The builders of servers and peers take observers by `observe`, and [`Metrics`](crate::Metrics) by `metrics`;
//! an [`InProcess`](crate::InProcess) by [`with_observer`](crate::InProcess::with_observer) and
//! [`with_metrics`](crate::InProcess::with_metrics). Layers cannot do this: they see no drops, no panics of the layers
//! around them, and no end of a connection.

// The types of a call on its way to `Observe::ended`:
//
//   Measure       a call of this side with one request, if there are only metrics: it waits in the slot of the response
//   CallRecord    the times and counts of any other call, from its begin on
//   OpenRecord    a record that the future or the stream of a call carries; its drop ends the call
//   CallOutcome   the end of a call, before it is reported
//   Observers     get a record and an outcome, and make an `ObservedCall` and a `CallSummary` of them

mod access_log;
mod call;
mod hook;
mod measure;
mod observers;
mod open_record;
mod outcome;
mod record;
mod series_cache;
mod spans;
mod trace_context;

pub(crate) use crate::observe::{
    measure::Measure,
    observers::Observers,
    open_record::{OpenRecord, RequestCount, RetryCount},
    outcome::CallOutcome,
    record::{CallFacts, CallRecord, CallSpan, FarEnd, MessageFigures, RecordExtras},
};
pub use crate::{
    call_side::CallSide,
    observe::{
        access_log::AccessLog,
        call::{CallSummary, ObservedCall},
        hook::{Observe, Wants},
        spans::Spans,
        trace_context::TraceContext,
    },
};
