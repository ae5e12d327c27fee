//! The axes: quantities that grow.

mod connections;
mod crowd;
mod fairness;
mod flight;
mod idle;
mod layers;
mod services;
mod size;
mod spread;
mod streams;

use crate::{load::Pace, table::Table};

/// A quantity that grows while everything else stays the same.
pub(crate) struct Axis {
    /// The name that selects the axis.
    pub(crate) name: &'static str,
    /// The growing quantity, and the transport.
    pub(crate) grows: &'static str,
    pub(crate) measure: fn(Pace) -> Table,
}

/// All axes, in the order in which they run. `idle` is first: memory that the allocator kept from
/// another axis would hide its result.
pub(crate) const AXES: [Axis; 10] = [
    Axis {
        name: "idle",
        grows: "peers that are connected beside and say nothing, TCP",
        measure: idle::measure,
    },
    Axis {
        name: "connections",
        grows: "connections with one call in flight on each, TCP",
        measure: connections::measure,
    },
    Axis {
        name: "spread",
        grows: "connections that share 2,000 calls in flight, TCP",
        measure: spread::measure,
    },
    Axis {
        name: "flight",
        grows: "calls in flight on one connection that has room for all, memory",
        measure: flight::measure,
    },
    Axis {
        name: "crowd",
        grows: "callers of one connection that has room for 1,024 calls, memory",
        measure: crowd::measure,
    },
    Axis {
        name: "size",
        grows: "bytes of a message, four calls in flight, TCP",
        measure: size::measure,
    },
    Axis {
        name: "services",
        grows: "services of the server, all of them called in turn, memory",
        measure: services::measure,
    },
    Axis {
        name: "streams",
        grows: "open streams on the same connection that say nothing, memory",
        measure: streams::measure,
    },
    Axis {
        name: "layers",
        grows: "tower layers around all services, memory",
        measure: layers::measure,
    },
    Axis {
        name: "fairness",
        grows: "a peer that calls every 5 ms, beside one with 512 calls in flight, two threads, TCP",
        measure: fairness::measure,
    },
];
