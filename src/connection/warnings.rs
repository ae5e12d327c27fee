//! The log of connections: how they ended, and the limits that their calls met. It is limited, so that neither
//! many peers nor one that calls much can flood it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use wawo_protocol::{ConnectionError, Side};

use crate::{
    call_side::CallSide, descriptor::ServiceDescriptor, error_chain::ErrorChain,
    log_limiter::LogLimiter,
};

/// Each limit is logged at most once in this time, on each side of a call.
const LIMIT_INTERVAL: Duration = Duration::from_secs(60);

/// Limits the warnings about the connections of one server, or of one peer that this side has connected.
#[derive(Debug, Default)]
pub(crate) struct ConnectionWarnings {
    violations: OnceLock<LogLimiter>,
    one_way_messages: OnceLock<LogLimiter>,
    schemas: OnceLock<LogLimiter>,
    moves: OnceLock<LogLimiter>,
    /// By the name of the limit: there are as many as there are settings.
    limits: Mutex<BTreeMap<(CallSide, &'static str), LogLimiter>>,
}

/// A limit that calls met.
#[derive(Clone, Copy)]
pub(crate) struct MetLimit<'a> {
    /// The side of the call that has the limit.
    pub(crate) side: CallSide,
    /// The setting, or the layer.
    pub(crate) limit: &'static str,
    /// `None` if it is not known any more.
    pub(crate) method: Option<&'a dyn fmt::Display>,
    /// The text, with figures.
    pub(crate) error: &'a dyn fmt::Display,
}

impl ConnectionWarnings {
    /// Logs the end of a connection: also as a warning, if the other side broke the protocol.
    #[cold]
    pub(crate) fn connection_over(
        &self,
        peer: &dyn fmt::Display,
        side: Side,
        error: &ConnectionError,
    ) {
        log_end(peer, side, error);
        if !matches!(error, ConnectionError::PeerMisbehaved(_)) {
            return;
        }
        let limiter = self.violations.get_or_init(LogLimiter::default);
        limiter.add_with(|| {
            let (peer, side, error) = (peer.to_string(), side.name(), error.clone());
            move |count| {
                let error = ErrorChain(&error);
                tracing::warn!(target: "wawo::connection", peer, side, count, %error, "peers broke the protocol");
            }
        });
    }

    /// Logs that a call was refused, or ended, for a limit.
    #[cold]
    pub(crate) fn limit_met(&self, peer: &dyn fmt::Display, met: MetLimit<'_>) {
        let MetLimit { side, limit, .. } = met;
        self.limiter(side, limit).add_with(|| {
            let (peer, error) = (peer.to_string(), met.error.to_string());
            let (side, method) = (side.name(), met.method.map(ToString::to_string));
            move |count| {
                tracing::warn!(target: "wawo::limit", limit, side, peer, method, count, error, "calls met a limit");
            }
        });
    }

    /// Logs why a one-way message was not sent, as nobody waits for its outcome.
    #[cold]
    pub(crate) fn one_way_not_sent(
        &self,
        peer: &dyn fmt::Display,
        method: &dyn fmt::Display,
        error: &dyn fmt::Display,
    ) {
        let limiter = self.one_way_messages.get_or_init(LogLimiter::default);
        limiter.add_with(|| {
            let (peer, method) = (peer.to_string(), method.to_string());
            let error = error.to_string();
            move |count| {
                tracing::warn!(target: "wawo::call", method, peer, count, error, "one-way messages were not sent");
            }
        });
    }

    /// Logs that the other side announced another schema of a service that this side calls.
    #[cold]
    pub(crate) fn schema_differs(
        &self,
        peer: &dyn fmt::Display,
        service: &ServiceDescriptor,
        here: &dyn fmt::Display,
        there: &dyn fmt::Display,
    ) {
        let limiter = self.schemas.get_or_init(LogLimiter::default);
        limiter.add_with(|| {
            let (peer, service) = (peer.to_string(), service.name().to_owned());
            let (here, there) = (here.to_string(), there.to_string());
            move |count| {
                tracing::warn!(
                    target: "wawo::connection",
                    service,
                    peer,
                    here,
                    there,
                    count,
                    "peers announced another schema of a service; calls of it may fail"
                );
            }
        });
    }

    /// Logs that the other side is not asked to connect anew.
    #[cold]
    pub(crate) fn not_asked_to_move(&self, peer: &dyn fmt::Display, error: &dyn fmt::Display) {
        let limiter = self.moves.get_or_init(LogLimiter::default);
        limiter.add_with(|| {
            let (peer, error) = (peer.to_string(), error.to_string());
            move |count| {
                tracing::warn!(target: "wawo::peer", peer, count, error, "peers are not asked to move");
            }
        });
    }

    fn limiter(&self, side: CallSide, limit: &'static str) -> LogLimiter {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let limiter = limits.entry((side, limit));
        let limiter = limiter.or_insert_with(|| LogLimiter::every(LIMIT_INTERVAL));
        limiter.clone()
    }
}

/// Logs the end of a connection of which the program, or another line of the log, learns the reason.
pub(crate) fn log_end(peer: &dyn fmt::Display, side: Side, error: &ConnectionError) {
    let (side, reason) = (side.name(), error.reason());
    tracing::debug!(target: "wawo::connection", %peer, side, reason, %error, "connection over");
}
