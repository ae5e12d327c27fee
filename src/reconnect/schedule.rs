//! When a peer dials: the times that belong to its state. Time and random numbers come in as arguments.

use std::time::{Duration, Instant};

use wawo_protocol::time::after;

use crate::reconnect::{
    Backoff, Reconnect,
    state::{State, Step},
};

/// The state of a peer that reconnects, and the time of its next try.
#[derive(Debug)]
pub(crate) struct Schedule {
    state: State,
    backoff: Backoff,
    max_tries: Option<u32>,
    /// How many tries have failed since the last connection began.
    failed: u32,
    /// When the connection began, if there is one whose time is not counted yet.
    up_since: Option<Instant>,
    /// The time of the next try, in `Waiting` and `Leaving`.
    due: Option<Instant>,
}

impl Schedule {
    pub(crate) fn new(settings: &Reconnect) -> Self {
        Self {
            state: State::Idle,
            backoff: settings.backoff(),
            max_tries: settings.max_tries(),
            failed: 0,
            up_since: None,
            due: None,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// The time of the next try, if one is to come.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// How many tries have failed since the last connection began.
    pub(crate) fn failed(&self) -> u32 {
        self.failed
    }

    /// A try begins.
    pub(crate) fn dial(&mut self) {
        self.take(Step::Dial);
        self.due = None;
    }

    /// The try has made a connection.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.take(Step::Up);
        (self.failed, self.up_since) = (0, Some(now));
    }

    /// The try has failed. Returns how long the peer waits before the next; `None` if it was the last.
    pub(crate) fn try_failed(&mut self, now: Instant, random: u64) -> Option<Duration> {
        self.failed = self.failed.saturating_add(1);
        self.take(Step::Fail);
        self.end_if_exhausted();
        self.wait(now, random)
    }

    /// The connection is over. Returns how long the peer waits before the next try, if none is under way
    /// and one is to come.
    pub(crate) fn lost(&mut self, now: Instant, random: u64) -> Option<Duration> {
        self.count_lasted(now);
        self.take(Step::Lose);
        self.end_if_exhausted();
        match (self.state, self.due) {
            (State::Waiting, Some(due)) => Some(due.saturating_duration_since(now)),
            (State::Waiting, None) => self.wait(now, random),
            _ => None,
        }
    }

    /// The other side takes no more calls: another connection is to come soon, unless its time is set.
    pub(crate) fn drained(&mut self, now: Instant, random: u64) {
        if self.state == State::Connected {
            self.count_lasted(now);
            self.take(Step::Leave);
            self.wait(now, random);
        }
    }

    /// The other side asks to replace the connection, not before and not after these times from now.
    pub(crate) fn move_between(
        &mut self,
        now: Instant,
        not_before: Duration,
        not_after: Duration,
        random: u64,
    ) {
        if matches!(self.state, State::Connected | State::Leaving) {
            self.count_lasted(now);
            self.take(Step::Leave);
            let span = not_after.saturating_sub(not_before);
            self.due = Some(after(now, not_before + part(span, random)));
        }
    }

    /// The program asks to dial now. Returns whether a try is under way, which has to begin anew.
    pub(crate) fn dial_now(&mut self, now: Instant) -> bool {
        if self.state.is_dialling() {
            return true;
        }
        if !matches!(self.state, State::Idle | State::Over) {
            self.take(Step::Leave);
            self.backoff.start_over();
            self.due = Some(now);
        }
        false
    }

    /// The peer is closed for good.
    pub(crate) fn close(&mut self) {
        self.take(Step::Close);
        self.due = None;
    }

    fn take(&mut self, step: Step) {
        self.state = self.state.after(step);
    }

    /// Sets the time of the next try, by the back-off.
    fn wait(&mut self, now: Instant, random: u64) -> Option<Duration> {
        if !matches!(self.state, State::Waiting | State::Leaving) {
            return None;
        }
        let wait = self.backoff.next_wait(random);
        self.due = Some(after(now, wait));
        Some(wait)
    }

    /// Counts how long the connection has lasted, for the back-off.
    fn count_lasted(&mut self, now: Instant) {
        if let Some(since) = self.up_since.take() {
            let lasted = now.saturating_duration_since(since);
            self.backoff.connection_ended(lasted);
        }
    }

    /// Ends the peer if it has no connection and no try left.
    fn end_if_exhausted(&mut self) {
        let is_exhausted = self.max_tries.is_some_and(|max| self.failed >= max);
        if is_exhausted && self.state == State::Waiting {
            self.close();
        }
    }
}

/// A random part of a time of at most 49 days.
fn part(of: Duration, random: u64) -> Duration {
    let nanos = (of.as_nanos() * u128::from(random)) >> u64::BITS;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Schedule, State};
    use crate::reconnect::{Reconnect, ReconnectBuilder};

    const SECOND: Duration = Duration::from_secs(1);
    const HALF: u64 = 1 << 63;

    fn schedule(settings: ReconnectBuilder) -> (Schedule, Instant) {
        (Schedule::new(&settings.build().unwrap()), Instant::now())
    }

    fn connected() -> (Schedule, Instant) {
        let (mut schedule, now) = schedule(Reconnect::builder());
        schedule.dial();
        schedule.connected(now);
        (schedule, now)
    }

    #[test]
    fn a_peer_whose_connections_do_not_last_waits_longer_each_time() {
        let (mut schedule, mut now) = connected();
        for bound in [1, 2, 4, 8, 16, 30, 30] {
            now += 9 * SECOND;
            assert_eq!(schedule.lost(now, HALF), Some(bound * SECOND / 2));
            assert_eq!(schedule.due(), Some(now + bound * SECOND / 2));
            schedule.dial();
            assert_eq!((schedule.state(), schedule.due()), (State::Dialling, None));
            schedule.connected(now);
        }
        assert_eq!(schedule.lost(now + 10 * SECOND, HALF), Some(SECOND / 2));
    }

    #[test]
    fn tries_that_fail_are_counted_until_one_connects() {
        let (mut schedule, now) = schedule(Reconnect::builder());
        for failed in 1..=3 {
            schedule.dial();
            assert_eq!(schedule.try_failed(now, 0), Some(Duration::ZERO));
            assert_eq!(schedule.failed(), failed);
        }
        schedule.dial();
        schedule.connected(now);
        assert_eq!(schedule.failed(), 0);
    }

    #[test]
    fn the_last_try_ends_the_peer_unless_it_has_a_connection() {
        let (mut schedule, now) = schedule(Reconnect::builder().max_tries(Some(2)));
        schedule.dial();
        assert!(schedule.try_failed(now, 0).is_some());
        schedule.dial();
        assert_eq!(schedule.try_failed(now, 0), None);
        assert_eq!((schedule.state(), schedule.due()), (State::Over, None));

        let (mut schedule, now) = self::schedule(Reconnect::builder().max_tries(Some(1)));
        schedule.dial();
        schedule.connected(now);
        schedule.drained(now, 0);
        schedule.dial();
        assert!(schedule.try_failed(now, 0).is_some());
        assert_eq!(schedule.state(), State::Leaving);
        assert_eq!(schedule.lost(now, 0), None);
        assert_eq!(schedule.state(), State::Over);
    }

    #[test]
    fn a_move_sets_a_random_time_between_its_bounds() {
        for (random, at) in [(0, 10), (HALF, 15)] {
            let (mut schedule, now) = connected();
            schedule.move_between(now, 10 * SECOND, 20 * SECOND, random);
            assert_eq!(schedule.due(), Some(now + at * SECOND));
            // The drain that follows, and the loss of the connection, leave that time as it is.
            schedule.drained(now, random);
            assert_eq!(schedule.due(), Some(now + at * SECOND));
            assert_eq!(schedule.lost(now + SECOND, 0), Some((at - 1) * SECOND));
            assert_eq!(schedule.state(), State::Waiting);
        }
        let (mut schedule, now) = connected();
        let wire_max = Duration::from_millis(u32::MAX.into());
        schedule.move_between(now, wire_max, wire_max, u64::MAX);
        assert_eq!(schedule.due(), Some(now + wire_max));
        schedule.move_between(now, 2 * SECOND, SECOND, u64::MAX);
        assert_eq!(
            schedule.due(),
            Some(now + 2 * SECOND),
            "the last one counts"
        );
        schedule.dial();
        schedule.move_between(now, SECOND, SECOND, 0);
        assert_eq!((schedule.state(), schedule.due()), (State::Switching, None));
    }

    #[test]
    fn a_connection_that_is_left_stays_until_another_takes_its_place() {
        let (mut schedule, now) = connected();
        schedule.drained(now + 10 * SECOND, HALF);
        let due = now + 10 * SECOND + SECOND / 2;
        assert_eq!(
            (schedule.state(), schedule.due()),
            (State::Leaving, Some(due))
        );
        schedule.dial();
        assert_eq!(schedule.try_failed(due, HALF), Some(SECOND));
        assert_eq!(schedule.state(), State::Leaving);
        schedule.dial();
        // The try goes on without the connection.
        assert_eq!(schedule.lost(due, HALF), None);
        assert_eq!(schedule.state(), State::Dialling);
        schedule.connected(due);
        assert_eq!(schedule.state(), State::Connected);
    }

    #[test]
    fn a_hint_dials_now_in_every_state_that_has_a_next_try() {
        let (mut schedule, now) = schedule(Reconnect::builder());
        assert!(!schedule.dial_now(now));
        assert_eq!((schedule.state(), schedule.due()), (State::Idle, None));
        schedule.dial();
        assert!(schedule.dial_now(now), "the try begins anew");
        schedule.try_failed(now, HALF);
        assert!(!schedule.dial_now(now));
        assert_eq!(
            (schedule.state(), schedule.due()),
            (State::Waiting, Some(now))
        );
        schedule.dial();
        schedule.connected(now);
        assert!(!schedule.dial_now(now));
        assert_eq!(
            (schedule.state(), schedule.due()),
            (State::Leaving, Some(now))
        );
        schedule.close();
        assert!(!schedule.dial_now(now));
        assert_eq!((schedule.state(), schedule.due()), (State::Over, None));
    }
}
