//! The times at which a connection has something to do without any input.

use std::time::{Duration, Instant};

use crate::{connection::machine::Connection, error::ConnectionError, packet::Packet};

/// The least time between two looks at the deadlines of all calls: many calls with different
/// deadlines then cost one look at the table in each step. A call may end late by this much.
pub(crate) const DEADLINE_STEP: Duration = Duration::from_millis(5);

impl<T> Connection<T> {
    /// The next time at which [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_closed() {
            return None;
        }
        let health = self.health.poll_timeout(&self.config, self.is_open());
        let packet = self.input.poll_timeout(self.config.packet_timeout());
        let write = self
            .write_progress
            .poll_timeout(self.config.write_timeout());
        let buffer_pool = self.buffer_pool.poll_timeout();
        // The driver asks twice for each read. A min over an array of these costs three times as
        // much.
        let earlier = |next: Instant, other: Option<Instant>| match other {
            Some(other) if other < next => other,
            _ => next,
        };
        let others = [self.next_deadline, packet, write, buffer_pool];
        Some(others.into_iter().fold(health, earlier))
    }

    /// Sends a ping if one is due, and ends calls whose time is up. Events follow from
    /// [`poll_event`](Self::poll_event).
    ///
    /// # Errors
    ///
    /// When the other side has been silent, or has not read, for too long, and so the connection
    /// is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionError> {
        self.now = now;
        if self.is_closed() {
            return Ok(());
        }
        self.buffer_pool.release(now);
        if self.next_deadline.is_some_and(|deadline| deadline <= now) {
            self.expire_calls(now);
        }
        let result = self.check_peer(now);
        if let Err(error) = &result {
            self.end_with(error);
        }
        result
    }

    /// Checks that the other side reads, sends whole packets, and answers pings.
    fn check_peer(&mut self, now: Instant) -> Result<(), ConnectionError> {
        let timeout = self.config.write_timeout();
        self.write_progress.check(now, timeout, &self.output)?;
        let timeout = self.config.packet_timeout();
        if self.input.poll_timeout(timeout).is_some_and(|at| at <= now) {
            return Err(ConnectionError::PacketTimedOut(timeout));
        }
        if let Some(ping) = self.health.handle_timeout(now, &self.config, self.state)? {
            Packet::Ping(ping).put(&mut self.output);
        }
        Ok(())
    }

    /// Ends the calls whose time is up, and finds the time at which the next one's will be.
    fn expire_calls(&mut self, now: Instant) {
        let ours = self.expire_ours(now);
        let theirs = self.expire_theirs(now);
        let waiting = self.expire_waiting(now);
        let next = [ours, theirs, waiting].into_iter().flatten().min();
        self.next_deadline = next.map(|deadline| deadline.max(now + DEADLINE_STEP));
        self.admit_waiting(now);
    }

    #[inline]
    pub(super) fn watch_deadline(&mut self, deadline: Option<Instant>) {
        let earlier = |&deadline: &Instant| self.next_deadline.is_none_or(|next| deadline < next);
        if let Some(deadline) = deadline.filter(earlier) {
            self.next_deadline = Some(deadline);
        }
    }
}
