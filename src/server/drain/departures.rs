//! The times at which the peers of a draining server leave.
//!
//! A spread of `d` over `n` peers gives each peer a slice of `d / n`. The peer is asked to connect anew
//! within its slice, and is drained [`TIME_TO_MOVE`] after the end of it, in case it did not.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use wawo_protocol::time::after;

/// How long a peer has to connect anew after the last moment at which it may begin to. A handshake takes
/// far less, over TLS too.
const TIME_TO_MOVE: Duration = Duration::from_secs(1);

/// The part of a spread that belongs to one peer, in milliseconds from the beginning of the drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) not_before: u32,
    pub(crate) not_after: u32,
}

/// The slices of this number of peers, in order.
pub(crate) fn slices(peers: usize, spread: Duration) -> impl Iterator<Item = Slice> {
    let spread = millis(spread);
    let time = move |n: usize| {
        let time = u128::from(spread) * n as u128 / peers as u128;
        // At most the spread, as `n` is at most the number of peers.
        time as u32
    };
    (0..peers).map(move |n| Slice {
        not_before: time(n),
        not_after: time(n + 1),
    })
}

/// How long it takes until all peers are drained, with this spread.
pub(crate) fn time_to_leave(spread: Duration) -> Duration {
    match spread.is_zero() {
        true => Duration::ZERO,
        false => time_to_drain(millis(spread)),
    }
}

/// How long it takes until a peer is drained whose slice ends then.
fn time_to_drain(not_after: u32) -> Duration {
    Duration::from_millis(not_after.into()) + TIME_TO_MOVE
}

/// A spread as peers are told it. One of more than 49 days counts as 49 days.
fn millis(spread: Duration) -> u32 {
    u32::try_from(spread.as_millis()).unwrap_or(u32::MAX)
}

/// The peers that are not drained yet, in the order of their times.
#[derive(Debug)]
pub(crate) struct Departures<P>(VecDeque<(Instant, P)>);

impl<P> Departures<P> {
    /// The departures of peers that are asked to move now, each within its slice.
    pub(crate) fn new(peers: impl IntoIterator<Item = (Slice, P)>, now: Instant) -> Self {
        let leaves = |slice: Slice| after(now, time_to_drain(slice.not_after));
        let peers = peers.into_iter();
        Self(peers.map(|(slice, peer)| (leaves(slice), peer)).collect())
    }

    /// When the next peer has to be drained; `None` if all are.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.front().map(|(time, _)| *time)
    }

    /// When the last peer has to be drained; `None` if all are.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.0.back().map(|(time, _)| *time)
    }

    /// Takes the peers that have to be drained by now.
    pub(crate) fn take_due(&mut self, now: Instant) -> impl Iterator<Item = P> {
        let due = self.0.partition_point(|(time, _)| *time <= now);
        self.0.drain(..due).map(|(_, peer)| peer)
    }

    /// Takes all peers that are left.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = P> {
        self.0.drain(..).map(|(_, peer)| peer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Departures, Slice, TIME_TO_MOVE, slices, time_to_leave};

    #[test]
    fn slices_share_the_spread_without_gaps() {
        for (peers, seconds) in [(1, 60), (3, 1), (7, 60), (1000, 60), (100_000, 1)] {
            let spread = Duration::from_secs(seconds);
            let slices: Vec<_> = slices(peers, spread).collect();
            assert_eq!(slices.len(), peers);
            assert_eq!(slices[0].not_before, 0);
            assert_eq!(slices[peers - 1].not_after, seconds as u32 * 1000);
            for pair in slices.windows(2) {
                assert_eq!(pair[0].not_after, pair[1].not_before);
            }
        }
    }

    #[test]
    fn no_second_of_a_spread_has_more_than_twice_its_share() {
        let share = 10_000 / 60;
        let mut seconds = [0; 61];
        for slice in slices(10_000, Duration::from_secs(60)) {
            // The worst peers all leave at the same end of their slices.
            seconds[slice.not_after as usize / 1000] += 1;
        }
        assert!(
            seconds.iter().all(|&peers| peers <= 2 * share),
            "{seconds:?}"
        );
    }

    #[test]
    fn the_longest_spread_is_cut_and_none_is_empty() {
        let last = slices(3, Duration::MAX).last();
        assert_eq!(last.unwrap().not_after, u32::MAX);
        assert_eq!(slices(0, Duration::MAX).count(), 0);
        let nothing = Slice {
            not_before: 0,
            not_after: 0,
        };
        assert!(slices(3, Duration::ZERO).all(|slice| slice == nothing));
    }

    #[test]
    fn the_grace_begins_when_the_last_peer_is_drained_after_the_longest_spread_too() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        for spread in [second / 10_000, second, u32::MAX * second, Duration::MAX] {
            let departures = Departures::new(slices(3, spread).zip(["a", "b", "c"]), now);
            let (last, _) = departures.0.back().unwrap();
            assert_eq!(*last, now + time_to_leave(spread), "{spread:?}");
        }
        assert_eq!(time_to_leave(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn peers_are_due_some_time_after_their_slice() {
        let now = Instant::now();
        let peers = slices(3, Duration::from_secs(3)).zip(["a", "b", "c"]);
        let mut departures = Departures::new(peers, now);
        let second = |n| now + Duration::from_secs(n) + TIME_TO_MOVE;
        assert_eq!(departures.next(), Some(second(1)));
        assert_eq!(departures.last(), Some(second(3)));
        let before = second(1) - Duration::from_millis(1);
        assert_eq!(departures.take_due(before).count(), 0);
        assert_eq!(
            departures.take_due(second(2)).collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert_eq!(departures.next(), Some(second(3)));
        assert_eq!(departures.take_all().collect::<Vec<_>>(), ["c"]);
        assert_eq!((departures.next(), departures.last()), (None, None));
    }
}
