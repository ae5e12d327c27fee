//! Turns the sums of all threads into a snapshot.

use wawo_protocol::{Code, Side};

use crate::metrics::{
    connections::{Connections, SideCounts},
    durations::CallDurations,
    figures::Gauge,
    series::SeriesKey,
    snapshot::{ConnectionMetrics, IoBytes, MethodMetrics, MetricsSnapshot, Outcome, RefusedCalls},
    sums::{SeriesSums, Sums},
};

/// The snapshot of these sums; `keys` are the labels of the series by their numbers.
pub(super) fn snapshot(
    sums: Sums,
    keys: &[SeriesKey],
    connections: &Connections,
) -> MetricsSnapshot {
    let gauge = |gauge: Gauge| never_negative(sums.gauges[gauge as usize]);
    MetricsSnapshot {
        connections: connection_metrics(connections),
        connecting_peers: connections.connecting.peers,
        accepting_peers: connections.accepting.peers,
        output_bytes: gauge(Gauge::OutputBytes),
        outbox_bytes: gauge(Gauge::OutboxBytes),
        waiting_calls: gauge(Gauge::WaitingCalls),
        blocked_connections: gauge(Gauge::BlockedConnections),
        dropped_log_lines: sums.dropped_lines,
        refused: refused(&sums),
        io: io(&sums),
        methods: methods(sums.series, keys),
    }
}

/// A gauge of which one thread was read before it added and another one after it took away.
fn never_negative(gauge: u64) -> u64 {
    u64::try_from(gauge.cast_signed()).unwrap_or(0)
}

fn methods(sums: Vec<SeriesSums>, keys: &[SeriesKey]) -> Vec<MethodMetrics> {
    let all = keys.iter().zip(sums).filter(|(_, sums)| sums.started > 0);
    let mut methods: Vec<_> = all.map(|(key, sums)| method(key, sums)).collect();
    methods.sort_unstable_by(|a, b| {
        (a.side, &a.method, a.protocol).cmp(&(b.side, &b.method, b.protocol))
    });
    methods
}

fn method(key: &SeriesKey, sums: SeriesSums) -> MethodMetrics {
    MethodMetrics {
        side: key.side,
        protocol: key.protocol,
        method: key.method.clone(),
        started: sums.started,
        in_flight: sums.began.saturating_sub(sums.ended),
        requests: sums.requests,
        replies: sums.replies,
        retries: sums.retries,
        panics: sums.panics,
        outcomes: outcomes(sums.durations),
    }
}

fn outcomes(durations: impl IntoIterator<Item = Option<CallDurations>>) -> Vec<Outcome> {
    let by_code = (0..).map(Code::from_wire).zip(durations);
    let ended = by_code.filter_map(|(code, durations)| {
        Some(Outcome {
            code,
            durations: durations?,
        })
    });
    ended
        .filter(|outcome| outcome.durations.count() > 0)
        .collect()
}

fn refused(sums: &Sums) -> Vec<RefusedCalls> {
    let refused = sums.refused.iter();
    let refused = refused.map(|(&(side, reason), &count)| RefusedCalls {
        side,
        reason,
        count,
    });
    refused.collect()
}

fn io(sums: &Sums) -> Vec<IoBytes> {
    let bytes = sums.io.iter().map(|(&transport, sums)| IoBytes {
        transport,
        received: sums.received,
        sent: sums.sent,
    });
    bytes.collect()
}

fn connection_metrics(connections: &Connections) -> Vec<ConnectionMetrics> {
    let of = |side: Side, counts: &SideCounts| {
        let transports = counts.transports.iter();
        let metrics = transports.map(move |(&transport, counts)| ConnectionMetrics {
            side,
            transport,
            open: counts.open,
            ended: counts
                .ended
                .iter()
                .map(|(&reason, &count)| (reason, count))
                .collect(),
        });
        metrics.collect::<Vec<_>>()
    };
    let mut all = of(Side::Connecting, &connections.connecting);
    all.extend(of(Side::Accepting, &connections.accepting));
    all
}
