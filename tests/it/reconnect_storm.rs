//! Clients that come back all at once, simulated with the back-off of a peer that reconnects. The bench
//! `storm` runs the same at full size; `docs/scale.md` has its figures.

use std::time::Duration;

use wawo::Reconnect;

use crate::storm_simulation::{
    scenarios::{Leave, MAX_FALLS, SECOND, WINDOW, falls, one_dies, outage, rolling},
    simulation::{BackoffReset, DEFAULT_ROOM, Settings},
};

/// A TLS handshake on one core.
const TLS: Duration = Duration::from_micros(300);

fn settings(clients: u32, servers: u32) -> Settings {
    Settings {
        clients,
        servers,
        handshake: TLS,
        room: DEFAULT_ROOM,
        reconnect: Reconnect::default(),
        reset: BackoffReset::Stable,
        seed: 1,
    }
}

/// A server is lost, and another takes its clients; or the network was away for a moment.
#[test]
fn a_thousand_clients_come_back_within_the_first_wait_and_evenly() {
    for seed in 0..20 {
        let settings = Settings {
            seed,
            ..settings(1_000, 1)
        };
        let figures = outage(settings, Duration::ZERO);
        let ratio = figures.peak_over_mean(WINDOW);
        assert!(ratio <= 2.0, "seed {seed}: {ratio}");
        assert!(figures.back <= Some(SECOND + SECOND / 10), "{figures:?}");
        assert_eq!((figures.useful, figures.wasted), (1_000, 0));
    }
    let figures = one_dies(settings(20_000, 20));
    assert!(figures.peak_over_mean(WINDOW) <= 2.0);
    assert_eq!(figures.lost, 1_000);
}

/// However long the outage was, servers that can take all clients within the first wait, twice as fast as
/// evenly, can take them.
#[test]
fn no_outage_makes_more_come_at_once_than_a_short_one() {
    let first_wait = Reconnect::default().first_wait();
    for tenths in [0, 3, 6, 9, 10, 15, 20, 30, 50, 100, 300, 600] {
        let lasts = Duration::from_millis(100 * tenths);
        let figures = outage(settings(4_000, 4), lasts);
        let ratio = figures.peak_over_even(WINDOW, first_wait);
        assert!(ratio <= 2.0, "{lasts:?}: {ratio}");
        assert!(figures.back.is_some_and(|back| back <= 30 * SECOND));
        assert_eq!((figures.useful, figures.wasted), (4_000, 0));
    }
}

/// After an outage that is longer than the longest wait, no second has more than twice the mean.
#[test]
fn clients_come_back_over_the_longest_wait_after_a_long_outage() {
    for lasts in [60, 120] {
        let figures = outage(settings(50_000, 50), lasts * SECOND);
        let ratio = figures.peak_over_mean(SECOND);
        assert!(ratio <= 2.0, "{lasts} s: {ratio}");
    }
}

/// The clients that come within the first wait need up to three times what the servers have.
#[test]
fn servers_do_not_collapse_under_three_times_what_they_can_do() {
    for load in [1.0, 2.0, 3.0] {
        let clients = 10_000;
        let settings = Settings {
            handshake: Duration::from_secs_f64(load / f64::from(clients)),
            ..settings(clients, 1)
        };
        let figures = outage(settings, Duration::ZERO);
        assert_eq!((figures.useful, figures.wasted), (u64::from(clients), 0));
        // The server is hardly ever idle before all are back.
        let best = SECOND.mul_f64(load);
        let back = figures.back.unwrap();
        assert!(back <= best.mul_f64(1.5), "{load}: {back:?}");
    }
}

/// A server that needs longer for those who wait than they do works for nobody. Less room mends it.
#[test]
fn a_slow_server_needs_a_short_queue() {
    let slow = |room| Settings {
        handshake: Duration::from_millis(3),
        room,
        ..settings(10_000, 1)
    };
    let collapsed = outage(slow(DEFAULT_ROOM), Duration::ZERO);
    assert_eq!(collapsed.back, None);
    assert!(collapsed.wasted > collapsed.useful);
    let served = outage(slow(512), Duration::ZERO);
    assert_eq!((served.useful, served.wasted), (10_000, 0));
}

#[test]
fn a_back_off_that_begins_anew_too_early_never_lets_servers_recover() {
    let right = falls(settings(5_000, 5));
    assert!(right.falls <= 5, "{right:?}");
    let wrong = falls(Settings {
        reset: BackoffReset::EachConnection,
        ..settings(5_000, 5)
    });
    assert_eq!(wrong.falls, MAX_FALLS);
    assert!(wrong.handshakes > 4 * right.handshakes, "{wrong:?}");
}

#[test]
fn no_second_of_a_move_over_a_minute_has_more_than_twice_its_share() {
    let roll = |leave| rolling(settings(12_000, 4), leave, 4);
    let moved = roll(Leave::Move);
    assert!(moved.peak_over_share <= 2.0, "{moved:?}");
    assert_eq!(moved.lost, 0);
    let drained = roll(Leave::Drain);
    assert!(drained.peak_over_share > 30.0, "{drained:?}");
}
