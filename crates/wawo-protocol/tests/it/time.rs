//! Durations that are counted from an instant.

use std::time::{Duration, Instant};

use wawo_protocol::time::{FOREVER, after};

#[allow(
    clippy::disallowed_methods,
    reason = "the test counts from it and never asks again"
)]
fn beginning() -> Instant {
    Instant::now()
}

#[test]
fn a_duration_counts_up_to_forever_and_never_overflows() {
    let now = beginning();
    let short = FOREVER - Duration::from_nanos(1);
    assert_eq!(after(now, Duration::ZERO), now);
    assert_eq!(after(now, short), now + short);
    assert_eq!(after(now, FOREVER), now + FOREVER);
    assert_eq!(after(now, Duration::MAX), now + FOREVER);
    // From late instants too, up to the end of the clock.
    let mut late = now;
    for _ in 0..1_000 {
        let later = after(late, Duration::MAX);
        assert!(later >= late);
        late = later;
    }
}
