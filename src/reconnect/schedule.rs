//! When a peer dials: the times that belong to its state. Time and random numbers come in as arguments.

use std::time::{Duration, Instant};

use wawo_protocol::time::after;

use crate::reconnect::{
    Reconnect,
    backoff::{Backoff, part},
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
    /// The time of the next try, in `Waiting` and `Leaving`; while a try is under way, the time to begin it
    /// anew, if it is not through by then.
    due: Option<Instant>,
    /// When the try that is under way began.
    dialled_at: Option<Instant>,
    /// No try in the place of the connection begins before this. Set if the connection has not lasted.
    earliest: Option<Instant>,
}

/// A try that is younger than this is not begun anew, so that hints that come faster than a handshake do not
/// keep the peer from connecting.
const LEAST_TIME_OF_TRY: Duration = Duration::from_secs(1);

impl Schedule {
    pub(crate) fn new(settings: &Reconnect) -> Self {
        Self {
            state: State::Idle,
            backoff: settings.backoff(),
            max_tries: settings.max_tries(),
            failed: 0,
            up_since: None,
            due: None,
            dialled_at: None,
            earliest: None,
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

    /// A try begins, in the place of one that is under way, if there is one.
    pub(crate) fn dial(&mut self, now: Instant) {
        self.take(Step::Dial);
        (self.due, self.dialled_at) = (None, Some(now));
    }

    /// The try has made a connection.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.take(Step::Up);
        (self.failed, self.up_since) = (0, Some(now));
        (self.due, self.earliest) = (None, None);
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
            (State::Waiting, Some(due)) if !self.is_late(due, now) => {
                Some(due.saturating_duration_since(now))
            }
            (State::Waiting, _) => self.wait(now, random),
            _ => None,
        }
    }

    /// The other side takes no more calls: another connection is to come soon.
    pub(crate) fn drained(&mut self, now: Instant, random: u64) {
        let is_late = self.due.is_some_and(|due| self.is_late(due, now));
        if self.state == State::Connected || (self.state == State::Leaving && is_late) {
            let has_lasted = self.count_lasted(now);
            self.take(Step::Leave);
            self.wait(now, random);
            if !has_lasted {
                self.earliest = self.due;
            }
        }
    }

    /// The other side asks to replace the connection, not before and not after these times from now. If the
    /// connection has not lasted, the back-off counts too: servers that send their peers to each other would
    /// make these dial without a pause.
    pub(crate) fn move_between(
        &mut self,
        now: Instant,
        not_before: Duration,
        not_after: Duration,
        random: u64,
    ) {
        if matches!(self.state, State::Connected | State::Leaving) {
            if !self.count_lasted(now) {
                self.earliest = Some(after(now, self.backoff.next_wait(random)));
            }
            self.take(Step::Leave);
            let span = not_after.saturating_sub(not_before);
            let asked = after(now, not_before + part(span, random));
            self.due = Some(asked).max(self.earliest);
        }
    }

    /// The program asks to dial now. A try that is under way begins anew when it is a second old.
    pub(crate) fn dial_now(&mut self, now: Instant) {
        if matches!(self.state, State::Idle | State::Over) {
            return;
        }
        self.take(Step::Leave);
        self.backoff.start_over();
        let dialled_at = self.dialled_at.filter(|_| self.state.is_dialling());
        let try_ends = dialled_at.map(|at| at + LEAST_TIME_OF_TRY);
        self.due = Some(now).max(try_ends);
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

    /// Whether a time that the other side has set is later than the back-off would be. It does not count once
    /// the other side is gone, or takes no calls.
    fn is_late(&self, due: Instant, now: Instant) -> bool {
        due > after(now, self.backoff.bound())
    }

    /// Counts how long the connection has lasted, for the back-off. Returns whether it has lasted long enough,
    /// or is counted already.
    fn count_lasted(&mut self, now: Instant) -> bool {
        self.up_since.take().is_none_or(|since| {
            let lasted = now.saturating_duration_since(since);
            self.backoff.connection_ended(lasted)
        })
    }

    /// Ends the peer if it has no connection and no try left.
    fn end_if_exhausted(&mut self) {
        let is_exhausted = self.max_tries.is_some_and(|max| self.failed >= max);
        if is_exhausted && self.state == State::Waiting {
            self.close();
        }
    }
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
        schedule.dial(now);
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
            schedule.dial(now);
            assert_eq!((schedule.state(), schedule.due()), (State::Dialling, None));
            schedule.connected(now);
        }
        assert_eq!(schedule.lost(now + 10 * SECOND, HALF), Some(SECOND / 2));
    }

    #[test]
    fn tries_that_fail_are_counted_until_one_connects() {
        let (mut schedule, now) = schedule(Reconnect::builder());
        for failed in 1..=3 {
            schedule.dial(now);
            assert_eq!(schedule.try_failed(now, 0), Some(Duration::ZERO));
            assert_eq!(schedule.failed(), failed);
        }
        schedule.dial(now);
        schedule.connected(now);
        assert_eq!(schedule.failed(), 0);
    }

    #[test]
    fn the_last_try_ends_the_peer_unless_it_has_a_connection() {
        let (mut schedule, now) = schedule(Reconnect::builder().max_tries(Some(2)));
        schedule.dial(now);
        assert!(schedule.try_failed(now, 0).is_some());
        schedule.dial(now);
        assert_eq!(schedule.try_failed(now, 0), None);
        assert_eq!((schedule.state(), schedule.due()), (State::Over, None));

        let (mut schedule, now) = self::schedule(Reconnect::builder().max_tries(Some(1)));
        schedule.dial(now);
        schedule.connected(now);
        schedule.drained(now, 0);
        schedule.dial(now);
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
            // A drain, and the loss of the connection, leave a time as it is that is soon enough.
            let soon = now + (at - 1) * SECOND;
            schedule.drained(soon, random);
            assert_eq!(schedule.due(), Some(now + at * SECOND));
            assert_eq!(schedule.lost(soon, 0), Some(SECOND));
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
        schedule.dial(now);
        schedule.move_between(now, SECOND, SECOND, 0);
        assert_eq!((schedule.state(), schedule.due()), (State::Switching, None));
    }

    #[test]
    fn a_time_of_a_move_does_not_outlive_the_server_that_set_it() {
        let hour = 3600 * SECOND;
        let (mut schedule, now) = connected();
        let now = now + 10 * SECOND;
        schedule.move_between(now, hour, hour, HALF);
        assert_eq!(schedule.lost(now, HALF), Some(SECOND / 2));

        let (mut schedule, now) = connected();
        let now = now + 10 * SECOND;
        schedule.move_between(now, hour, hour, HALF);
        schedule.drained(now, HALF);
        assert_eq!(schedule.due(), Some(now + SECOND / 2));
        assert_eq!(schedule.state(), State::Leaving);
    }

    #[test]
    fn servers_that_send_their_peers_to_each_other_see_them_less_and_less_often() {
        let (mut schedule, mut now) = connected();
        for bound in [1, 2, 4, 8, 16, 30, 30] {
            let due = now + bound * SECOND / 2;
            for _ in 0..3 {
                schedule.move_between(now, Duration::ZERO, Duration::ZERO, HALF);
                assert_eq!(schedule.due(), Some(due));
                schedule.drained(now, HALF);
            }
            now = due;
            schedule.dial(now);
            schedule.connected(now);
        }
        // The other order.
        schedule.drained(now, HALF);
        schedule.move_between(now, Duration::ZERO, Duration::ZERO, HALF);
        assert_eq!(schedule.due(), Some(now + 15 * SECOND));
        schedule.dial(now);
        schedule.connected(now);
        now += 10 * SECOND;
        schedule.move_between(now, Duration::ZERO, Duration::ZERO, HALF);
        assert_eq!(schedule.due(), Some(now), "the connection has lasted");
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
        schedule.dial(now);
        assert_eq!(schedule.try_failed(due, HALF), Some(SECOND));
        assert_eq!(schedule.state(), State::Leaving);
        schedule.dial(now);
        // The try goes on without the connection.
        assert_eq!(schedule.lost(due, HALF), None);
        assert_eq!(schedule.state(), State::Dialling);
        schedule.connected(due);
        assert_eq!(schedule.state(), State::Connected);
    }

    #[test]
    fn a_hint_dials_now_in_every_state_that_has_a_next_try() {
        let (mut schedule, now) = schedule(Reconnect::builder());
        schedule.dial_now(now);
        assert_eq!((schedule.state(), schedule.due()), (State::Idle, None));
        schedule.dial(now);
        schedule.try_failed(now, HALF);
        schedule.dial_now(now);
        assert_eq!(
            (schedule.state(), schedule.due()),
            (State::Waiting, Some(now))
        );
        schedule.dial(now);
        schedule.connected(now);
        schedule.dial_now(now);
        assert_eq!(
            (schedule.state(), schedule.due()),
            (State::Leaving, Some(now))
        );
        schedule.close();
        schedule.dial_now(now);
        assert_eq!((schedule.state(), schedule.due()), (State::Over, None));
    }

    #[test]
    fn a_hint_begins_a_try_anew_that_is_a_second_old() {
        let (mut schedule, now) = schedule(Reconnect::builder());
        schedule.dial(now);
        for ms in [0, 300, 999] {
            schedule.dial_now(now + Duration::from_millis(ms));
            assert_eq!(schedule.due(), Some(now + SECOND));
        }
        let later = now + 5 * SECOND;
        schedule.dial_now(later);
        assert_eq!(schedule.due(), Some(later));
        schedule.dial(later);
        assert_eq!((schedule.state(), schedule.due()), (State::Dialling, None));
        schedule.dial_now(later);
        schedule.connected(later);
        assert_eq!(schedule.due(), None, "the try was in time");
    }
}
