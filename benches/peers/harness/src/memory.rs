//! Memory of a process, from `/proc`.

use std::fs;

use anyhow::{Context as _, Result};

/// The resident bytes of heap and stacks of the process `pid`. Pages of the binary, which are
/// loaded as its code runs, are not included.
///
/// # Errors
///
/// There is no such process, or no `/proc`.
pub(crate) fn anonymous_bytes_of(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    anonymous_bytes(&status).with_context(|| format!("{path} has no RssAnon"))
}

/// The field `RssAnon` of proc(5) `status`, which is in KiB.
fn anonymous_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::{anonymous_bytes, anonymous_bytes_of};

    #[test]
    fn the_field_is_found_and_is_in_kib() {
        let status = "Name:\tpeers-run\nVmRSS:\t    9000 kB\nRssAnon:\t    5120 kB\n";
        assert_eq!(anonymous_bytes(status), Some(5120 << 10));
        assert_eq!(anonymous_bytes("VmRSS:\t    9000 kB\n"), None);
    }

    #[test]
    fn the_own_process_is_readable() {
        assert!(anonymous_bytes_of(std::process::id()).unwrap() > 0);
    }
}
