//! The resources of this process: its limits and its memory.

use std::fs;

/// Raises the limit of open files as far as the system allows.
#[cfg(unix)]
pub(crate) fn open_more_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If that fails, there are fewer connections, and the tables say so.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(not(unix))]
pub(crate) fn open_more_files() {}

/// The maximum number of TCP connections of the process, which holds both ends of each.
#[cfg(unix)]
pub(crate) fn max_connections() -> usize {
    use rustix::process::{Resource, getrlimit};

    /// Standard streams, listeners, and the files with which runtimes poll.
    const OTHER_FILES: u64 = 64;

    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    (files.saturating_sub(OTHER_FILES) / 2) as usize
}

#[cfg(not(unix))]
pub(crate) fn max_connections() -> usize {
    usize::MAX
}

/// Resident memory in bytes; `None` where there is no `/proc`.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}
