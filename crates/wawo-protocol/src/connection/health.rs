//! Checks that the other side is still there: a deadline for the handshake, then pings when it is silent.

use std::time::{Duration, Instant};

use crate::{
    config::Config,
    connection::state::State,
    error::{ConnectionError, PeerMisbehaved},
    time::after,
};

#[derive(Debug)]
pub(crate) struct Health {
    /// When the connection began.
    began: Instant,
    /// When something last came.
    last_received: Instant,
    /// The time without a received byte after which a ping is sent.
    interval: Duration,
    /// The ping that has no pong yet, and when it was sent.
    ping_sent: Option<(u64, Instant)>,
    pings: u64,
    /// When the other side last pinged.
    last_ping: Option<Instant>,
    /// The number of the other side's pings in a row that came too early.
    early_pings: u32,
}

/// A ping that comes sooner than this after the one before counts as early. A side sends at most one
/// ping a second; half of that leaves room for a network that brings two closer together
/// (docs/protocol.md, "Keep-alive").
const EARLY: Duration = Duration::from_millis(500);

impl Health {
    pub(crate) fn new(now: Instant, config: &Config) -> Self {
        Self {
            began: now,
            last_received: now,
            interval: config.keep_alive_interval(),
            ping_sent: None,
            pings: 0,
            last_ping: None,
            early_pings: 0,
        }
    }

    /// Pings no more often than the other side asks for, within `max_keep_alive_interval`.
    pub(crate) fn slow_down(&mut self, asked: Option<Duration>, config: &Config) {
        if let Some(asked) = asked {
            let asked = asked.min(config.max_keep_alive_interval());
            self.interval = self.interval.max(asked);
        }
    }

    /// Records that bytes have come.
    pub(crate) fn record_input(&mut self, now: Instant) {
        self.last_received = now;
    }

    pub(crate) fn handle_ping(&mut self, now: Instant, max: u32) -> Result<(), PeerMisbehaved> {
        let before = self.last_ping.replace(now);
        let early = before.is_some_and(|before| now < before + EARLY);
        self.early_pings = if early { self.early_pings + 1 } else { 0 };
        match self.early_pings <= max {
            true => Ok(()),
            false => Err(PeerMisbehaved::EarlyPings(max)),
        }
    }

    pub(crate) fn handle_pong(&mut self, data: u64) -> Result<(), PeerMisbehaved> {
        match self.ping_sent.take() {
            Some((ping, _)) if ping == data => Ok(()),
            _ => Err(PeerMisbehaved::PongUnasked),
        }
    }

    #[inline]
    pub(crate) fn poll_timeout(&self, config: &Config, open: bool) -> Instant {
        match self.ping_sent {
            _ if !open => after(self.began, config.handshake_timeout()),
            Some((_, since)) => after(since.max(self.last_received), config.keep_alive_timeout()),
            None => after(self.last_received, self.interval),
        }
    }

    /// Returns the ping to send, if one is due.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        config: &Config,
        state: State,
    ) -> Result<Option<u64>, ConnectionError> {
        if now < self.poll_timeout(config, state.is_open()) {
            return Ok(None);
        }
        let timeout = config.handshake_timeout();
        if state.is_undecided() {
            return Err(ConnectionError::AcceptTimedOut(timeout));
        }
        if !state.is_open() {
            return Err(ConnectionError::HandshakeTimedOut(timeout));
        }
        if self.ping_sent.is_some() {
            return Err(ConnectionError::KeepAliveTimedOut(
                config.keep_alive_timeout(),
            ));
        }
        self.pings += 1;
        self.ping_sent = Some((self.pings, now));
        Ok(Some(self.pings))
    }
}
