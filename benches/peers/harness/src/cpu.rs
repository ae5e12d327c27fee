//! CPU time of a process, from `/proc`.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

/// User and system time of the process `pid`, all threads, in steps of 10 ms.
///
/// # Errors
///
/// There is no such process, or no `/proc`.
pub(crate) fn time_of(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    ticks(&stat)
        .map(|ticks| TICK * ticks)
        .with_context(|| format!("{path} is malformed"))
}

/// Fields 14 and 15 of proc(5) `stat`, `utime` and `stime`. The name, field 2, may hold spaces
/// and parentheses, so counting starts behind its last one.
fn ticks(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_whitespace().skip(11);
    Some(times.next()?.parse::<u32>().ok()? + times.next()?.parse::<u32>().ok()?)
}

/// Linux reports in 1/100 s on every architecture we run on, whatever the kernel's own tick.
const TICK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::{ticks, time_of};

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        assert_eq!(
            ticks("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20"),
            Some(300)
        );
        assert_eq!(ticks("7 (a) S 1 2"), None);
    }

    #[test]
    fn the_own_process_is_readable() {
        time_of(std::process::id()).unwrap();
    }
}
