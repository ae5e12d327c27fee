//! Adds durations of any length to an instant, without a panic.

use std::time::{Duration, Instant};

/// The longest duration that is added to an instant, thirty years. Any clock and any timer can
/// count that far, and no process lives to see the end of it.
pub const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The instant that comes `duration` after another.
///
/// `Instant + Duration` panics where the clock cannot count so far, and a timeout of
/// `Duration::MAX` is a usual way to say "never". So every deadline is counted by this function;
/// a duration of more than [`FOREVER`] counts as that.
///
/// ```
/// # use std::time::{Duration, Instant};
/// # #[allow(clippy::disallowed_methods, reason = "the example has no other clock")]
/// # let now = Instant::now();
/// use wawo_protocol::time::{FOREVER, after};
///
/// assert_eq!(after(now, Duration::from_secs(1)), now + Duration::from_secs(1));
/// assert_eq!(after(now, Duration::MAX), now + FOREVER);
/// ```
#[inline]
pub fn after(instant: Instant, duration: Duration) -> Instant {
    // The sum fails only at the end of the clock; then the instant itself is returned.
    instant.checked_add(countable(duration)).unwrap_or(instant)
}

/// A duration, or [`FOREVER`] if that is shorter.
#[inline]
pub(crate) fn countable(duration: Duration) -> Duration {
    // Every call runs this several times, and whole seconds are cheaper to compare than durations.
    match duration.as_secs() < FOREVER.as_secs() {
        true => duration,
        false => FOREVER,
    }
}
