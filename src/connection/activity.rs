//! How much a connection is used, for a server that needs its place.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Context,
    time::{Duration, Instant},
};

use wawo_protocol::{CloseCode, ConnectionError};

use crate::{
    clock,
    connection::{driver::Driver, mailbox::Command},
    peer::{ConnectionLimit, ConnectionState, Peer, PeerEvent, PeerState},
};

/// How exactly the time of the last call is known. A driver compares two times whenever it has done
/// something, and does the rest this often at most.
const STEP: Duration = Duration::from_secs(1);

/// How much a connection is used, as its driver tells it.
#[derive(Debug)]
pub(crate) struct ActivityRecord {
    has_calls: AtomicBool,
    last_call: LastCall,
}

impl ActivityRecord {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            has_calls: AtomicBool::new(false),
            last_call: LastCall::new(now),
        }
    }
}

/// When a connection last had to do with a call.
#[derive(Debug)]
struct LastCall {
    opened: Instant,
    /// Seconds after `opened`, and one: 0 for never.
    seconds: AtomicU32,
}

impl LastCall {
    fn new(now: Instant) -> Self {
        Self {
            opened: now,
            seconds: AtomicU32::new(0),
        }
    }

    fn set(&self, now: Instant) {
        let seconds = now.saturating_duration_since(self.opened).as_secs();
        // A connection that lasts for 136 years counts as used from then on.
        let seconds = u32::try_from(seconds + 1).unwrap_or(u32::MAX);
        self.seconds.store(seconds, Ordering::Relaxed);
    }

    fn get(&self) -> Option<Instant> {
        let seconds = self.seconds.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.opened + Duration::from_secs(seconds.into()))
    }
}

/// How much a connection is used, without a hold on its peer.
#[derive(Debug)]
pub(crate) struct ActivityHandle(Arc<PeerState>);

/// The same at one time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Activity {
    /// Calls are in flight, in either direction, or one-way messages are being handled.
    pub(crate) has_calls: bool,
    /// When the connection last had to do with a call, within a second; `None` if it never had.
    pub(crate) last_call: Option<Instant>,
}

impl ActivityHandle {
    pub(crate) fn activity(&self) -> Activity {
        let record = &self.0.activity;
        Activity {
            has_calls: record.has_calls.load(Ordering::Relaxed),
            last_call: record.last_call.get(),
        }
    }
}

impl Peer {
    pub(crate) fn activity_handle(&self) -> ActivityHandle {
        ActivityHandle(self.0.shared.clone())
    }

    /// Closes the connection if its hello has not come, and nothing else has since the last time
    /// that this was asked.
    pub(crate) fn close_if_silent(&self, reason: &str) {
        let command = Command::CloseIfSilent(reason.to_owned());
        self.0.shared.mailbox.push_end(command);
    }

    /// Whether a connection that was to be closed if it was silent has said something, but not yet
    /// all of its hello. Asked again, it has not.
    pub(crate) fn has_spoken(&self) -> bool {
        self.0.shared.has_spoken.swap(false, Ordering::Relaxed)
    }
}

impl Peer {
    /// Whether it was closed because it was silent.
    pub(crate) fn was_closed_as_silent(&self) -> bool {
        self.0.shared.was_silent.load(Ordering::Relaxed)
    }
}

impl Driver {
    /// Something has come that may have to do with a call.
    #[cold]
    pub(crate) fn record_activity(&mut self, now: Instant) {
        self.calls_reported = self.connection.calls();
        if self.calls_reported > 0 {
            self.shared.activity.last_call.set(now);
            self.activity_due = now + STEP;
        }
    }

    /// Tells whether there are calls now, before the driver waits.
    #[inline]
    pub(crate) fn record_has_calls(&mut self) {
        let has_calls = self.connection.has_calls() || self.incoming.one_way_messages() > 0;
        if has_calls != self.has_calls {
            self.has_calls = has_calls;
            let record = &self.shared.activity.has_calls;
            record.store(has_calls, Ordering::Relaxed);
        }
    }

    /// Nothing has to come back for calls of this side that are one-way. They are found when some
    /// time of the connection is up, as that of its keep-alive.
    pub(crate) fn record_started_calls(&mut self, now: Instant) {
        if self.connection.calls() != self.calls_reported {
            self.record_activity(now);
        }
    }

    /// Closes the connection if its hello has not come, and nothing else has since the last time.
    /// Bytes in the buffer of a transport are read before: this side may have had no time to.
    pub(crate) fn close_if_silent(
        &mut self,
        cx: &mut Context<'_>,
        reason: &str,
    ) -> Result<(), ConnectionError> {
        if self.read(cx)? {
            self.handle_events(cx, clock::now())?;
        }
        if !matches!(*self.shared.state.borrow(), ConnectionState::Handshaking) {
            return Ok(());
        }
        match std::mem::take(&mut self.has_received) {
            true => self.shared.has_spoken.store(true, Ordering::Relaxed),
            false => {
                self.shared.was_silent.store(true, Ordering::Relaxed);
                self.send_event(|peer| PeerEvent::Closed(peer, ConnectionLimit::MaxHandshakes));
                self.connection.close(CloseCode::LimitExceeded, reason);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::LastCall;

    #[test]
    fn the_last_call_is_known_by_the_second() {
        let opened = Instant::now();
        let last_call = LastCall::new(opened);
        assert_eq!(last_call.get(), None);
        for (millis, seconds) in [(0, 0), (999, 0), (1_000, 1), (86_400_000, 86_400)] {
            last_call.set(opened + Duration::from_millis(millis));
            assert_eq!(last_call.get(), Some(opened + Duration::from_secs(seconds)));
        }
    }
}
