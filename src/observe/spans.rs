//! A tracing span for each call.

use std::{borrow::Cow, cell::LazyCell, net::IpAddr};

use tracing::{Span, debug_span, field::Empty};

use crate::{
    call_side::CallSide,
    observe::{
        call::{CallSummary, ObservedCall},
        hook::{Observe, Wants},
    },
    transport::Address,
};

/// Makes a `tracing` span for each call, on both sides.
///
/// ```
/// use wawo::observe::Spans;
///
/// let server = wawo::Server::builder().observe(Spans);
/// ```
///
/// The span has the target `wawo::call`, the name `call` and the level DEBUG. A handler runs in it, so the lines
/// that the handler logs show their call. It covers the whole call: until the last reply of a stream, and on the
/// client all tries. If no subscriber is interested in it, no span is made.
///
/// The fields are those of OpenTelemetry's conventions for RPC, so that a layer of `tracing-opentelemetry` makes a
/// span of OpenTelemetry of each. But `Spans` itself passes no trace on to other processes: for that, use the crate
/// `wawo-otel` in its place.
///
/// | field | contents |
/// |---|---|
/// | `otel.name`, `rpc.method` | the full name of the method; `_OTHER` if this side does not have its schema |
/// | `rpc.method_original` | the ids of service and method, as in `7/3`; only if the name is `_OTHER` |
/// | `otel.kind` | `server` or `client` |
/// | `rpc.system.name` | [`ObservedCall::protocol`] |
/// | `server.address`, `server.port` | client only: the address that was called |
/// | `network.peer.address`, `network.peer.port` | the address of the other end, if it is known |
/// | `wawo.peer.id` | [`ObservedCall::peer`] |
/// | `wawo.depth` | [`ObservedCall::call_depth`] |
/// | `trace_id` | the id of the trace in the metadata of the call, if there is one |
/// | `rpc.response.status_code` | at the end: the code, such as `OK` or `NOT_FOUND` |
/// | `error.type` | at the end, on failure only: the code |
/// | `otel.status_code`, `otel.status_description` | at the end, on failure only: `ERROR`, and the text of the status |
///
/// On the client, each code but `OK` is a failure. On the server, these are: `UNKNOWN`, `DEADLINE_EXCEEDED`,
/// `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE` and `DATA_LOSS`; others mean that the caller asked for something that
/// it cannot have.
#[derive(Debug, Clone, Copy, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "there is nothing to set: the subscriber decides which spans are made"
)]
pub struct Spans;

impl Observe for Spans {
    fn wants(&self) -> Wants {
        Wants::SPANS
    }

    fn began(&self, call: &ObservedCall<'_>) -> Option<Span> {
        let span = span(call);
        (!span.is_disabled()).then_some(span)
    }

    fn ended(&self, call: &ObservedCall<'_>, end: &CallSummary<'_>) {
        if let Some(span) = call.span() {
            record_end(span, call.side(), end);
        }
    }
}

/// The span of a call. Its values are computed only if a subscriber is interested. Numbers are `i64`: the layer of
/// `tracing-opentelemetry` makes texts of unsigned ones.
fn span(call: &ObservedCall<'_>) -> Span {
    let is_client = call.side() == CallSide::Client;
    let address = LazyCell::new(|| call.address().map(Address::name_and_port));
    let server = || address.as_ref().filter(|_| is_client);
    let peer = || address.as_ref().filter(|address| !is_host_name(address));
    debug_span!(
        target: "wawo::call",
        "call",
        "otel.name" = call.path(),
        "otel.kind" = call.side().name(),
        "otel.status_code" = Empty,
        "otel.status_description" = Empty,
        "rpc.system.name" = call.protocol(),
        "rpc.method" = call.path(),
        "rpc.method_original" = unknown_method(call).as_deref(),
        "rpc.response.status_code" = Empty,
        "error.type" = Empty,
        "server.address" = server().map(|(name, _)| &**name),
        "server.port" = server().and_then(|(_, port)| port.map(i64::from)),
        "network.peer.address" = peer().map(|(name, _)| &**name),
        "network.peer.port" = peer().and_then(|(_, port)| port.map(i64::from)),
        "wawo.peer.id" = call.peer().map(|id| id.to_string()).as_deref(),
        "wawo.depth" = i64::from(call.call_depth()),
        "trace_id" = trace_id(call).as_deref(),
    )
}

/// The ids of a method whose name this side does not have.
fn unknown_method(call: &ObservedCall<'_>) -> Option<String> {
    let is_unknown = call.descriptor().is_none();
    is_unknown.then(|| format!("{}/{}", call.service(), call.method()))
}

/// Whether an address has the name of a host, which several sockets may have. A path or an IP address is the
/// address of one.
fn is_host_name((name, port): &(Cow<'_, str>, Option<u16>)) -> bool {
    let without_zone = name.split('%').next().unwrap_or(name);
    port.is_some() && without_zone.parse::<IpAddr>().is_err()
}

fn trace_id(call: &ObservedCall<'_>) -> Option<String> {
    let trace = call.trace_context()?;
    Some(format!("{:032x}", u128::from_be_bytes(trace.trace_id)))
}

fn record_end(span: &Span, side: CallSide, end: &CallSummary<'_>) {
    span.record("rpc.response.status_code", end.code.name());
    if !side.is_failure(end.code) {
        return;
    }
    span.record("error.type", end.code.name());
    span.record("otel.status_code", "ERROR");
    if !end.text.is_empty() {
        span.record("otel.status_description", end.text);
    }
}

#[cfg(test)]
mod tests;
