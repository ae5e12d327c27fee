//! The text of a snapshot, for collectors.
//!
//! The two formats differ little: OpenMetrics leaves `_total` out of the names of families, writes units and
//! an end, and wants a point in the bounds of buckets.

mod writer;

use wawo_protocol::Side;

pub(super) use crate::metrics::exposition::writer::Format;
use crate::{
    call_side::CallSide,
    metrics::{
        exposition::writer::TextWriter,
        families::{
            self, DIRECTION, ERROR_TYPE, KIND, METHOD, REASON, SIDE, STATUS_CODE, SYSTEM, TRANSPORT,
        },
        series::OTHER,
        snapshot::{ConnectionMetrics, MessageCount, MethodMetrics, MetricsSnapshot},
    },
};

/// All figures as text. Families without samples are left out.
pub(super) fn text(snapshot: &MetricsSnapshot, format: Format) -> String {
    let mut text = TextWriter::new(format);
    for side in [CallSide::Server, CallSide::Client] {
        durations(&mut text, side, &snapshot.methods);
    }
    calls(&mut text, &totals(&snapshot.methods));
    refused_calls(&mut text, snapshot);
    connections(&mut text, snapshot);
    io(&mut text, snapshot);
    gauges(&mut text, snapshot);
    text.finish()
}

fn durations(text: &mut TextWriter, side: CallSide, methods: &[MethodMetrics]) {
    text.family(families::call_duration(side));
    for method in methods.iter().filter(|method| method.side == side) {
        for outcome in &method.outcomes {
            let code = outcome.code.name();
            let labels = [
                (SYSTEM, method.protocol),
                (METHOD, method.method.as_deref().unwrap_or(OTHER)),
                (STATUS_CODE, code),
                (ERROR_TYPE, code),
            ];
            let is_failure = side.is_failure(outcome.code);
            let labels = if is_failure {
                &labels[..]
            } else {
                &labels[..3]
            };
            text.histogram(labels, &outcome.durations);
        }
    }
}

/// The calls of a method over all protocols.
struct MethodTotals<'a> {
    labels: [(&'static str, &'a str); 2],
    side: CallSide,
    methods: &'a [MethodMetrics],
}

impl<'a> MethodTotals<'a> {
    /// The methods are at least one, and have the same side and name.
    fn new(methods: &'a [MethodMetrics]) -> Self {
        let first = &methods[0];
        let method = first.method.as_deref().unwrap_or(OTHER);
        Self {
            labels: [(SIDE, first.side.name()), (METHOD, method)],
            side: first.side,
            methods,
        }
    }

    fn sum(&self, figure: impl Fn(&MethodMetrics) -> u64) -> u64 {
        self.methods.iter().map(figure).sum()
    }
}

/// The methods are in the order of their side and name, so those of other protocols are neighbours.
fn totals(methods: &[MethodMetrics]) -> Vec<MethodTotals<'_>> {
    let is_same = |a: &MethodMetrics, b: &MethodMetrics| a.side == b.side && a.method == b.method;
    methods.chunk_by(is_same).map(MethodTotals::new).collect()
}

fn calls(text: &mut TextWriter, totals: &[MethodTotals<'_>]) {
    text.family(families::CALLS_STARTED);
    for total in totals {
        text.sample(&total.labels, total.sum(|method| method.started));
    }
    text.family(families::CALLS_IN_FLIGHT);
    for total in totals {
        text.sample(&total.labels, total.sum(|method| method.in_flight));
    }
    text.family(families::MESSAGES);
    for total in totals {
        messages(text, total, |count| count.messages);
    }
    text.family(families::MESSAGE_BYTES);
    for total in totals {
        messages(text, total, |count| count.bytes);
    }
    attempts(text, totals);
    text.family(families::HANDLER_PANICS);
    for total in totals {
        text.sample_if_any(&total.labels[1..], total.sum(|method| method.panics));
    }
}

/// The requests and replies of a method by their direction, which depends on the side.
fn messages(text: &mut TextWriter, total: &MethodTotals<'_>, figure: fn(&MessageCount) -> u64) {
    let [side, method] = total.labels;
    let requests = total.sum(|method| figure(&method.requests));
    let replies = total.sum(|method| figure(&method.replies));
    let (received, sent) = match total.side {
        CallSide::Server => (requests, replies),
        CallSide::Client => (replies, requests),
    };
    text.sample(&[side, method, (DIRECTION, "received")], received);
    text.sample(&[side, method, (DIRECTION, "sent")], sent);
}

fn attempts(text: &mut TextWriter, totals: &[MethodTotals<'_>]) {
    text.family(families::CALL_ATTEMPTS);
    for total in totals.iter().filter(|total| total.side == CallSide::Client) {
        let method = total.labels[1];
        text.sample(
            &[method, (KIND, "first")],
            total.sum(|method| method.started),
        );
        let retries = total.sum(|method| method.retries);
        text.sample_if_any(&[method, (KIND, "retry")], retries);
    }
}

fn refused_calls(text: &mut TextWriter, snapshot: &MetricsSnapshot) {
    text.family(families::CALLS_REFUSED);
    for refused in &snapshot.refused {
        let labels = [(SIDE, refused.side.name()), (REASON, refused.reason)];
        text.sample(&labels, refused.count);
    }
}

/// The sides of connections have the names of the sides of calls, so that one filter finds both.
fn side_name(side: Side) -> &'static str {
    match side {
        Side::Connecting => CallSide::Client.name(),
        Side::Accepting => CallSide::Server.name(),
    }
}

fn connections(text: &mut TextWriter, snapshot: &MetricsSnapshot) {
    text.family(families::PEERS);
    let connecting = (SIDE, side_name(Side::Connecting));
    text.sample(&[connecting], snapshot.connecting_peers);
    let accepting = (SIDE, side_name(Side::Accepting));
    text.sample(&[accepting], snapshot.accepting_peers);
    let labels = |it: &ConnectionMetrics| [(SIDE, side_name(it.side)), (TRANSPORT, it.transport)];
    text.family(families::CONNECTIONS);
    for connections in &snapshot.connections {
        text.sample(&labels(connections), connections.open);
    }
    text.family(families::CONNECTIONS_ENDED);
    for connections in &snapshot.connections {
        let [side, transport] = labels(connections);
        for (reason, count) in &connections.ended {
            text.sample(&[side, transport, (REASON, reason)], *count);
        }
    }
}

fn io(text: &mut TextWriter, snapshot: &MetricsSnapshot) {
    text.family(families::IO_BYTES);
    for io in &snapshot.io {
        let transport = (TRANSPORT, io.transport);
        text.sample(&[(DIRECTION, "received"), transport], io.received);
        text.sample(&[(DIRECTION, "sent"), transport], io.sent);
    }
}

fn gauges(text: &mut TextWriter, snapshot: &MetricsSnapshot) {
    let single = [
        (families::OUTPUT_BYTES, snapshot.output_bytes),
        (families::OUTBOX_BYTES, snapshot.outbox_bytes),
        (families::WAITING_CALLS, snapshot.waiting_calls),
        (families::BLOCKED_CONNECTIONS, snapshot.blocked_connections),
        (families::LOG_DROPPED, snapshot.dropped_log_lines),
    ];
    for (family, value) in single {
        text.family(family);
        text.sample(&[], value);
    }
}
