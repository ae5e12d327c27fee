//! The log of a server's life.

use std::time::Duration;

use crate::{descriptor::ServiceDescriptor, peer::DrainReport, transport::Address};

/// How many services the line about a listener names; a line with hundreds could not be read.
const MAX_NAMES: usize = 8;

pub(super) fn listening(address: &Address, services: &[ServiceDescriptor]) {
    let services = names(services);
    tracing::info!(target: "wawo::server", %address, services, "listening");
}

/// Logs that the process was asked to end.
pub(super) fn asked_to_end(signal: &str) {
    tracing::info!(target: "wawo::server", signal, "asked to end");
}

pub(super) fn service_added(service: &str) {
    tracing::info!(target: "wawo::server", service, "service added");
}

pub(super) fn service_removed(service: &str) {
    tracing::info!(target: "wawo::server", service, "service removed");
}

/// Logs that a drain begins. `spread` is the time in which its peers are asked to move, and the grace begins
/// after that.
pub(super) fn draining(connections: usize, grace: Duration, spread: Duration) {
    tracing::info!(target: "wawo::server", connections, ?grace, ?spread, "draining");
}

/// Logs that a drain which is under way ends earlier.
pub(super) fn drain_hastened(grace: Duration, spread: Duration) {
    tracing::info!(target: "wawo::server", ?grace, ?spread, "the drain ends earlier");
}

pub(super) fn drained(report: &DrainReport) {
    let (connections, finished) = (report.peers, report.finished);
    let cut: usize = report.cut.iter().map(|cut| cut.calls).sum();
    tracing::info!(target: "wawo::server", connections, finished, cut, "drained");
}

/// Logs that a server which listened was dropped, and so cut its calls without a drain.
pub(super) fn stopped() {
    tracing::info!(target: "wawo::server", "stopped without a drain");
}

/// The names of the first services, and how many more there are.
fn names(services: &[ServiceDescriptor]) -> String {
    let shown = services.iter().take(MAX_NAMES).map(ServiceDescriptor::name);
    let names = shown.collect::<Vec<_>>().join(", ");
    match services.len().saturating_sub(MAX_NAMES) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}
