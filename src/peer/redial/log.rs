//! The log of a peer that reconnects: a few lines for each outage, however many tries it has.

use std::{fmt, time::Duration};

use tracing::field::{debug, display};
use wawo_protocol::ConnectionError;

use crate::{peer::event::FailedTry, transport::Address};

/// Logs that there is a connection after a time without one, in which this many tries failed.
pub(super) fn connected(peer: &dyn fmt::Display, failed: u32) {
    tracing::info!(target: "wawo::peer", %peer, failed, "connected");
}

/// Logs that a connection has taken the place of one that was still open.
pub(super) fn moved(peer: &dyn fmt::Display) {
    tracing::debug!(target: "wawo::peer", %peer, "moved to a new connection");
}

/// Logs a try that has failed: as a warning, if it is the first of an outage or the last of all.
pub(super) fn try_failed(
    peer: &dyn fmt::Display,
    address: Option<&Address>,
    failed: &FailedTry,
    is_first: bool,
) {
    let FailedTry { number, error, .. } = failed;
    let address = address.map(display);
    match failed.wait {
        None => {
            tracing::warn!(target: "wawo::peer", %peer, address, number, %error, "cannot connect, and tries no more")
        }
        Some(wait) if is_first => {
            tracing::warn!(target: "wawo::peer", %peer, address, number, %error, ?wait, "cannot connect yet; tries on");
        }
        Some(wait) => {
            tracing::debug!(target: "wawo::peer", %peer, address, number, %error, ?wait, "a further try to connect has failed");
        }
    }
}

/// Logs the begin of an outage. `wait` is the time to the next try, if there is one.
pub(super) fn lost(peer: &dyn fmt::Display, error: &ConnectionError, wait: Option<Duration>) {
    let (reason, wait) = (error.reason(), wait.map(debug));
    tracing::info!(target: "wawo::peer", %peer, reason, %error, wait, "the connection is lost");
}
