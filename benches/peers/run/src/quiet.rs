//! Waits until the machine is idle.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// The load of the machine when a measurement began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    Quiet,
    Busy,
}

/// Waits until the processors were idle for a moment, for at most `limit`. With a limit of zero it
/// checks only once.
///
/// # Errors
///
/// There is no `/proc`.
pub(crate) fn wait(limit: Duration) -> Result<Machine> {
    let deadline = Instant::now() + limit;
    loop {
        let before = Times::now()?;
        thread::sleep(SAMPLE);
        if Times::now()?.busy_share_since(before) < QUIET_SHARE {
            return Ok(Machine::Quiet);
        }
        if Instant::now() >= deadline {
            return Ok(Machine::Busy);
        }
    }
}

/// The time that the processors have spent since the start of the system, in ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    busy: u64,
    idle: u64,
}

impl Times {
    fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        Self::parse(&stat).context("/proc/stat is malformed")
    }

    /// Parses the first line of proc(5) `stat`: user, nice, system, idle, iowait, irq, softirq,
    /// steal. The following times, those of guests, are included in the first two.
    fn parse(stat: &str) -> Option<Self> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = fields
            .split_whitespace()
            .take(8)
            .map(|field| field.parse().ok())
            .collect::<Option<_>>()?;
        let idle = ticks.get(3)? + ticks.get(4)?;
        Some(Self {
            busy: ticks.iter().sum::<u64>() - idle,
            idle,
        })
    }

    /// The share of the time since `earlier` that was not idle, from 0 to 1.
    fn busy_share_since(self, earlier: Self) -> f64 {
        let busy = self.busy.saturating_sub(earlier.busy);
        let idle = self.idle.saturating_sub(earlier.idle);
        busy as f64 / (busy + idle).max(1) as f64
    }
}

const SAMPLE: Duration = Duration::from_millis(300);
/// A tenth of all processors.
const QUIET_SHARE: f64 = 0.1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Times, wait};

    #[test]
    fn waiting_for_the_disk_is_idle_and_guests_count_once() {
        let times = Times::parse("cpu  10 20 30 400 50 6 7 8 5 5\ncpu0 1 2 3 4 5 6 7 8\n").unwrap();
        assert_eq!(
            times,
            Times {
                busy: 81,
                idle: 450
            }
        );
        assert_eq!(Times::parse("cpu  1 2 3"), None);
        assert_eq!(Times::parse("intr 1"), None);
    }

    #[test]
    fn the_share_is_of_the_time_in_between() {
        let before = Times {
            busy: 100,
            idle: 900,
        };
        let after = Times {
            busy: 115,
            idle: 945,
        };
        assert_eq!(after.busy_share_since(before), 0.25);
        assert_eq!(before.busy_share_since(before), 0.0);
    }

    #[test]
    fn without_patience_it_looks_once() {
        wait(Duration::ZERO).unwrap();
    }
}
