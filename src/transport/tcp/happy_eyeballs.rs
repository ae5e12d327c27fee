//! Connects to a name that has several addresses, some of which may not reply ("Happy Eyeballs", RFC
//! 8305).
//!
//! ```text
//!   0 ms   dial the first ────────────────────────┐
//! 250 ms   dial the second, of the other family ──┤ the first to connect wins,
//! 500 ms   dial the third ────────────────────────┘ the others are dropped
//! ```
//!
//! An address that fails lets the next one begin at once.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use crate::transport::attempts::Attempts;

/// How long to wait for the dialed addresses before the next one is dialed too (RFC 8305, section 8,
/// recommends 250 ms).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the first of the addresses that accepts; `attempts` records the outcome of each.
///
/// Dropping the future drops all attempts.
pub(crate) async fn connect<S, F>(
    addresses: Vec<SocketAddr>,
    dial: impl Fn(SocketAddr) -> F,
    attempts: &mut Attempts,
) -> io::Result<S>
where
    F: Future<Output = io::Result<S>>,
{
    let mut waiting = families_in_turn(addresses);
    let mut dialing = Vec::new();
    loop {
        if let Some(address) = waiting.pop_front() {
            attempts.begin(&address);
            dialing.push((address, Box::pin(dial(address))));
        }
        if dialing.is_empty() {
            return Err(std::mem::take(attempts).into_error());
        }
        let next = next_result(&mut dialing);
        let result = match waiting.is_empty() {
            true => Some(next.await),
            false => tokio::time::timeout(ATTEMPT_DELAY, next).await.ok(),
        };
        match result {
            Some((_, Ok(stream))) => return Ok(stream),
            Some((address, Err(error))) => attempts.fail(&address, error),
            None => {}
        }
    }
}

type DialFutures<F> = Vec<(SocketAddr, Pin<Box<F>>)>;

/// Waits for the first of several futures, and takes it out.
async fn next_result<F: Future>(dialing: &mut DialFutures<F>) -> (SocketAddr, F::Output) {
    poll_fn(|cx| {
        for at in 0..dialing.len() {
            if let Poll::Ready(result) = dialing[at].1.as_mut().poll(cx) {
                return Poll::Ready((dialing.remove(at).0, result));
            }
        }
        Poll::Pending
    })
    .await
}

/// Orders addresses so that IPv6 and IPv4 take turns, the family of the first one leading (RFC 8305,
/// section 4).
fn families_in_turn(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let leads_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let is_of_leading = |address: &SocketAddr| address.is_ipv6() == leads_ipv6;
    let (leading, others): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_of_leading);
    let (mut leading, mut others) = (leading.into_iter(), others.into_iter());
    let mut in_turn = VecDeque::new();
    loop {
        let pair = [leading.next(), others.next()];
        if pair == [None, None] {
            return in_turn;
        }
        in_turn.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        io::{self, ErrorKind},
        net::SocketAddr,
        time::Duration,
    };

    use tokio::time::{Instant, sleep};

    use super::{connect, families_in_turn};
    use crate::transport::attempts::Attempts;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        let parsed = list.iter().map(|address| address.parse().unwrap());
        parsed.collect()
    }

    /// A network that follows a script, and records when each address was dialed and when it was dropped.
    #[derive(Default)]
    struct Network {
        begun: Instant0,
        dialed: RefCell<Vec<(u64, SocketAddr)>>,
        dropped: RefCell<Vec<SocketAddr>>,
    }

    struct Instant0(Instant);

    impl Default for Instant0 {
        fn default() -> Self {
            Self(Instant::now())
        }
    }

    struct OnDrop<'a>(&'a Network, SocketAddr);

    impl Drop for OnDrop<'_> {
        fn drop(&mut self) {
            self.0.dropped.borrow_mut().push(self.1);
        }
    }

    impl Network {
        fn now(&self) -> u64 {
            self.begun.0.elapsed().as_millis().try_into().unwrap()
        }

        /// The port of an address is the number of milliseconds after which it replies; 9 is never, and
        /// an odd one is a refusal.
        async fn dial(&self, address: SocketAddr) -> io::Result<SocketAddr> {
            self.dialed.borrow_mut().push((self.now(), address));
            let _guard = OnDrop(self, address);
            match address.port() {
                9 => std::future::pending().await,
                after => sleep(Duration::from_millis(after.into())).await,
            }
            match address.port() % 2 {
                0 => Ok(address),
                _ => Err(ErrorKind::ConnectionRefused.into()),
            }
        }

        fn dialed_at(&self) -> Vec<u64> {
            self.dialed.borrow().iter().map(|dialed| dialed.0).collect()
        }
    }

    #[test]
    fn families_take_turns_and_the_first_one_leads() {
        for (given, expected) in [
            (&[][..], &[][..]),
            (
                &["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"],
                &["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"],
            ),
            (
                &["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"],
                &["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"],
            ),
            (
                &["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"],
                &["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"],
            ),
        ] {
            assert_eq!(families_in_turn(addresses(given)), addresses(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_black_hole_holds_up_the_next_address_for_250_ms_and_is_then_dropped() {
        let network = Network::default();
        let list = addresses(&["[::1]:9", "1.1.1.1:9", "[::2]:20", "2.2.2.2:9"]);
        let mut attempts = Attempts::default();
        let dial = |address| network.dial(address);
        let won = connect(list, dial, &mut attempts).await.unwrap();
        assert_eq!(won, "[::2]:20".parse().unwrap());
        assert_eq!(network.dialed_at(), [0, 250, 500]);
        assert_eq!(network.now(), 520);
        assert_eq!(network.dropped.borrow().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_lets_the_next_address_begin_at_once() {
        let network = Network::default();
        let list = addresses(&["[::1]:11", "1.1.1.1:31", "[::2]:20"]);
        let mut attempts = Attempts::default();
        let dial = |address| network.dial(address);
        connect(list, dial, &mut attempts).await.unwrap();
        assert_eq!(network.dialed_at(), [0, 11, 42]);
        assert_eq!(network.now(), 62);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_wins_if_the_later_ones_fail() {
        let network = Network::default();
        let list = addresses(&["[::1]:400", "1.1.1.1:1"]);
        let mut attempts = Attempts::default();
        let dial = |address| network.dial(address);
        let won = connect(list, dial, &mut attempts).await.unwrap();
        assert_eq!(won, "[::1]:400".parse().unwrap());
        assert_eq!(network.dialed_at(), [0, 250]);
        assert_eq!(network.now(), 400);
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_names_each_address() {
        let network = Network::default();
        let list = addresses(&["[::1]:301", "1.1.1.1:1"]);
        let mut attempts = Attempts::default();
        let dial = |address| network.dial(address);
        let error = connect(list, dial, &mut attempts).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let text = "[::1]:301: connection refused, 1.1.1.1:1: connection refused";
        assert_eq!(error.to_string(), text);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_tried_is_known_when_the_time_is_up() {
        let network = Network::default();
        let list = addresses(&["[::1]:9", "1.1.1.1:1", "[::2]:9", "[::3]:9"]);
        let mut attempts = Attempts::default();
        let dial = |address| network.dial(address);
        let connecting = connect(list, dial, &mut attempts);
        let time = Duration::from_millis(400);
        tokio::time::timeout(time, connecting).await.unwrap_err();
        let text = "[::1]:9: no answer, 1.1.1.1:1: connection refused, [::2]:9: no answer";
        assert_eq!(attempts.to_string(), text);
        assert_eq!(network.dropped.borrow().len(), 3);
    }
}
