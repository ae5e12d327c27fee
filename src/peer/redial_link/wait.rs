//! The wait of a call for a connection.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use crate::{
    backstop::timeout_at,
    call_side::CallSide,
    connection::{ConnectionHandle, MetLimit, Owner},
    peer::redial_link::RedialLink,
    request::{Deadline, Request},
    status::{Delivery, Result, Status},
};

/// The place of a call among those that wait. Dropping it frees the place.
struct WaitPlace<'a>(&'a RedialLink);

impl Drop for WaitPlace<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RedialLink {
    /// Whether a call waits while there is no connection.
    pub(crate) fn lets_wait(&self, request: &Request) -> bool {
        let of_peer = || self.settings.wait_for_ready();
        request.waits_for_ready().unwrap_or_else(of_peer)
    }

    /// Waits until there is a connection for a call with this deadline. `refused_by` is a connection
    /// that the call is not made over again. Without a deadline it waits until the peer is closed.
    ///
    /// # Errors
    ///
    /// If the deadline passes, the peer is closed, or too many calls wait already.
    pub(crate) async fn connection_for(
        &self,
        deadline: Option<Deadline>,
        refused_by: Option<&Arc<ConnectionHandle>>,
    ) -> Result<()> {
        if self.has_connection(refused_by)? {
            return Ok(());
        }
        let _place = self.wait_place()?;
        let connected = self.connected(refused_by);
        match deadline {
            None => connected.await,
            Some(deadline) => {
                let connected = timeout_at(deadline.at, pin!(connected)).await;
                connected.unwrap_or_else(|| Err(self.late(deadline)))
            }
        }
    }

    /// Resolves when there is a connection that takes calls, or when `end` is reached.
    ///
    /// # Errors
    ///
    /// If the peer is closed.
    pub(crate) async fn ready(&self, end: Instant) -> Result<()> {
        let ready = timeout_at(end, pin!(self.connected(None))).await;
        ready.unwrap_or(Ok(()))
    }

    async fn connected(&self, refused_by: Option<&Arc<ConnectionHandle>>) -> Result<()> {
        let mut state = self.state.subscribe();
        loop {
            // A change from here on ends the wait below.
            state.borrow_and_update();
            if self.has_connection(refused_by)? {
                return Ok(());
            }
            // The sender lives as long as this link.
            let _ = state.changed().await;
        }
    }

    fn wait_place(&self) -> Result<WaitPlace<'_>> {
        let max = self.settings.max_calls_without_connection();
        let more = |waiting: usize| (waiting < max).then_some(waiting + 1);
        let ordering = Ordering::Relaxed;
        match self.waiting.fetch_update(ordering, ordering, more) {
            Ok(_) => Ok(WaitPlace(self)),
            Err(_) => {
                let text = format!(
                    "the call was not sent: {max} calls wait for a connection already \
                     (max_calls_without_connection); {}",
                    self.describe_outage()
                );
                self.report_full(&text);
                Err(Status::resource_exhausted(text).with_delivery(Delivery::NotSent))
            }
        }
    }

    fn report_full(&self, text: &str) {
        let met = MetLimit {
            side: CallSide::Client,
            limit: "max_calls_without_connection",
            method: None,
            error: &text,
        };
        self.peer.warnings().limit_met(&self.peer, met);
    }

    /// How many calls wait for a connection.
    pub(super) fn calls_waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How long a call without a timeout would wait for room at most. A caller that has not called yet
    /// waits as long for a connection.
    pub(crate) fn longest_wait(&self) -> Duration {
        let (default, _) = self.default_timeouts.of(false);
        let stall = self.stall_timeout;
        default.map_or(stall, |default| default.min(stall))
    }

    /// The status of a call whose deadline passed before there was a connection.
    fn late(&self, deadline: Deadline) -> Status {
        let setting = self.default_timeouts.describe(deadline.source);
        let text = format!(
            "the deadline passed while the call waited for a connection ({setting}); {}",
            self.describe_outage()
        );
        Status::deadline_exceeded(text).with_delivery(Delivery::NotSent)
    }
}
