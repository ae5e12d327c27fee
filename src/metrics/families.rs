//! The names of the metrics and of their labels, as collectors see them.
//!
//! The histograms and their labels follow OpenTelemetry's conventions for RPC, in the form that Prometheus
//! gives such names.

use crate::call_side::CallSide;

/// All samples with one name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Family {
    /// The name without the `_total` of counters.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The unit, with which the name ends then.
    pub(super) unit: Option<&'static str>,
    pub(super) help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

pub(super) const SYSTEM: &str = "rpc_system_name";
pub(super) const METHOD: &str = "rpc_method";
pub(super) const STATUS_CODE: &str = "rpc_response_status_code";
pub(super) const ERROR_TYPE: &str = "error_type";
pub(super) const SIDE: &str = "side";
pub(super) const DIRECTION: &str = "direction";
pub(super) const REASON: &str = "reason";
pub(super) const KIND: &str = "kind";
pub(super) const TRANSPORT: &str = "transport";

const fn family(name: &'static str, kind: Kind, help: &'static str) -> Family {
    Family {
        name,
        kind,
        unit: None,
        help,
    }
}

impl Family {
    const fn unit(self, unit: &'static str) -> Self {
        Self {
            unit: Some(unit),
            ..self
        }
    }
}

/// The times of the calls of one side.
pub(super) const fn call_duration(side: CallSide) -> Family {
    let (name, help) = match side {
        CallSide::Client => (
            "rpc_client_call_duration_seconds",
            "Times of the calls that this side made, with their whole streams.",
        ),
        CallSide::Server => (
            "rpc_server_call_duration_seconds",
            "Times of the calls that this side served, with their whole streams.",
        ),
    };
    family(name, Kind::Histogram, help).unit("seconds")
}

pub(super) const CALLS_STARTED: Family =
    family("wawo_calls_started", Kind::Counter, "Calls that began.");
pub(super) const CALLS_IN_FLIGHT: Family = family(
    "wawo_calls_in_flight",
    Kind::Gauge,
    "Calls that have begun and not ended.",
);
pub(super) const MESSAGES: Family = family(
    "wawo_messages",
    Kind::Counter,
    "Messages of the calls that have ended.",
);
pub(super) const MESSAGE_BYTES: Family = family(
    "wawo_message_bytes",
    Kind::Counter,
    "Encoded bytes of these messages, without headers.",
)
.unit("bytes");
pub(super) const CALLS_REFUSED: Family = family(
    "wawo_calls_refused",
    Kind::Counter,
    "Calls that were refused or ended for a limit, by its name.",
);
pub(super) const CALL_ATTEMPTS: Family = family(
    "wawo_call_attempts",
    Kind::Counter,
    "How often calls of this side were sent.",
);
pub(super) const HANDLER_PANICS: Family = family(
    "wawo_handler_panics",
    Kind::Counter,
    "Handlers that panicked.",
);
pub(super) const PEERS: Family = family("wawo_peers", Kind::Gauge, "Peers that are connected.");
pub(super) const CONNECTIONS: Family = family(
    "wawo_connections",
    Kind::Gauge,
    "Connections that are open.",
);
/// Not `wawo_connections_total`: OpenMetrics allows no counter with the name of a gauge.
pub(super) const CONNECTIONS_ENDED: Family = family(
    "wawo_connections_ended",
    Kind::Counter,
    "Connections that have ended, by reason.",
);
pub(super) const IO_BYTES: Family = family(
    "wawo_io_bytes",
    Kind::Counter,
    "Bytes that went over sockets.",
)
.unit("bytes");
pub(super) const OUTPUT_BYTES: Family = family(
    "wawo_output_bytes",
    Kind::Gauge,
    "Bytes of packets that wait to be written to sockets.",
)
.unit("bytes");
pub(super) const OUTBOX_BYTES: Family = family(
    "wawo_outbox_bytes",
    Kind::Gauge,
    "Bytes of messages of streams that wait to become packets.",
)
.unit("bytes");
pub(super) const WAITING_CALLS: Family = family(
    "wawo_waiting_calls",
    Kind::Gauge,
    "Calls of this side that wait until the other side takes more calls.",
);
pub(super) const BLOCKED_CONNECTIONS: Family = family(
    "wawo_blocked_connections",
    Kind::Gauge,
    "Connections that take no calls of this side until more of their output is written.",
);
pub(super) const LOG_DROPPED: Family = family(
    "wawo_log_dropped",
    Kind::Counter,
    "Lines that an access log dropped.",
);
