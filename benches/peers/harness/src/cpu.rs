//! CPU time of a process, from `/proc`.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

/// User and system time of the process `pid`, all threads, with a resolution of 10 ms.
///
/// # Errors
///
/// There is no such process, or no `/proc`.
pub fn time_of(pid: u32) -> Result<Duration> {
    time(pid, OWN_TIMES)
}

/// User and system time of the children of this process that have ended and were waited for,
/// including their own children.
///
/// # Errors
///
/// There is no `/proc`.
pub fn time_of_children() -> Result<Duration> {
    time(std::process::id(), CHILDREN_TIMES)
}

fn time(pid: u32, field: usize) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    ticks(&stat, field)
        .map(|ticks| TICK * ticks)
        .with_context(|| format!("{path} is malformed"))
}

/// The sum of `field` of proc(5) `stat` and the next one. The name, field 2, may contain spaces and
/// parentheses, so counting starts after the last closing parenthesis.
fn ticks(stat: &str, field: usize) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_whitespace().skip(field - 3);
    Some(times.next()?.parse::<u32>().ok()? + times.next()?.parse::<u32>().ok()?)
}

/// `utime`, before `stime`.
const OWN_TIMES: usize = 14;
/// `cutime`, before `cstime`.
const CHILDREN_TIMES: usize = 16;

/// Linux reports in 1/100 s on every architecture we use, whatever the kernel's own tick.
const TICK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::{CHILDREN_TIMES, OWN_TIMES, ticks, time_of, time_of_children};

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 7 3 20";
        assert_eq!(ticks(stat, OWN_TIMES), Some(300));
        assert_eq!(ticks(stat, CHILDREN_TIMES), Some(10));
        assert_eq!(ticks("7 (a) S 1 2", OWN_TIMES), None);
    }

    #[test]
    fn the_own_process_is_readable() {
        time_of(std::process::id()).unwrap();
        time_of_children().unwrap();
    }
}
