//! Finds the memory of the machine, for the default limit of decoded messages.

use std::path::Path;

/// The default limit of decoded messages is at most this many bytes.
const MAX_DEFAULT_BYTES: u64 = 1024 * 1024 * 1024;

/// The default limit of a server's decoded messages, in bytes: a quarter of the memory that the process
/// may use, at most 1 GiB. It is 1 GiB where that is not known, which is elsewhere than on Linux.
pub(crate) fn default_decoded_bytes() -> usize {
    let memory = process_memory(Path::new("/")).unwrap_or(u64::MAX);
    usize::try_from((memory / 4).min(MAX_DEFAULT_BYTES)).unwrap_or(usize::MAX)
}

/// The memory of the machine, or the smallest limit of the process's control groups, if that is less.
/// `root` is the folder that holds `/proc` and `/sys`.
fn process_memory(root: &Path) -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let machine = machine_memory(&read("proc/meminfo"));
    let groups = read("proc/self/cgroup");
    let limits = groups.lines().filter_map(parse_group).flat_map(|group| {
        let folder = root.join(group.folder);
        limits_from(&folder, group.path, group.file)
    });
    machine.into_iter().chain(limits).min()
}

/// The value of `MemTotal` in `/proc/meminfo`.
fn machine_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// A control group that can limit memory.
#[derive(Debug, PartialEq, Eq)]
struct ControlGroup<'a> {
    folder: &'static str,
    path: &'a str,
    file: &'static str,
}

/// Parses a line of `/proc/self/cgroup`: `0::/path` in version 2, `4:memory:/path` in version 1.
fn parse_group(line: &str) -> Option<ControlGroup<'_>> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let path = path.trim_start_matches('/');
    match controllers {
        "" => Some(ControlGroup {
            folder: "sys/fs/cgroup",
            path,
            file: "memory.max",
        }),
        _ => controllers
            .split(',')
            .any(|name| name == "memory")
            .then_some(ControlGroup {
                folder: "sys/fs/cgroup/memory",
                path,
                file: "memory.limit_in_bytes",
            }),
    }
}

/// The limits of a group and of the groups above it. In a container, the path is often that of the host,
/// and only the folder at the top exists.
fn limits_from(top: &Path, path: &str, file: &str) -> Vec<u64> {
    let ends_at_top = |folder: &&Path| folder.starts_with(top);
    let own = top.join(path);
    let folders = own.ancestors().take_while(ends_at_top);
    let limits = folders.filter_map(|folder| {
        let text = std::fs::read_to_string(folder.join(file)).ok()?;
        // The text "max" means that there is no limit; it does not parse.
        text.trim().parse().ok()
    });
    limits.collect()
}

#[cfg(test)]
mod tests {
    use super::{ControlGroup, default_decoded_bytes, machine_memory, parse_group};

    #[test]
    fn a_quarter_of_memory_and_at_most_a_gibibyte() {
        let bytes = default_decoded_bytes();
        assert!((1..=1024 * 1024 * 1024).contains(&bytes), "{bytes}");
    }

    #[test]
    fn the_memory_of_the_machine_is_read() {
        let meminfo = "MemTotal:       16303428 kB\nMemFree:         234 kB\n";
        assert_eq!(machine_memory(meminfo), Some(16_303_428 * 1024));
        assert_eq!(machine_memory(""), None);
        assert_eq!(machine_memory("MemTotal: many kB"), None);
    }

    #[test]
    fn control_groups_of_both_versions_are_found() {
        let second = ControlGroup {
            folder: "sys/fs/cgroup",
            path: "user/a.service",
            file: "memory.max",
        };
        assert_eq!(parse_group("0::/user/a.service"), Some(second));
        let first = ControlGroup {
            folder: "sys/fs/cgroup/memory",
            path: "docker/1",
            file: "memory.limit_in_bytes",
        };
        assert_eq!(parse_group("9:cpu,memory:/docker/1"), Some(first));
        assert_eq!(parse_group("4:cpuset:/docker/1"), None);
        assert_eq!(parse_group(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_least_limit_counts() {
        use std::fs;

        use super::process_memory;

        let root = std::env::temp_dir().join(format!("wawo-memory-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let file = root.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("proc/meminfo", "MemTotal: 1000 kB\n");
        assert_eq!(process_memory(&root), Some(1_024_000));
        write("proc/self/cgroup", "0::/above/own\n");
        write("sys/fs/cgroup/above/own/memory.max", "max\n");
        assert_eq!(process_memory(&root), Some(1_024_000));
        write("sys/fs/cgroup/above/memory.max", "500000\n");
        assert_eq!(process_memory(&root), Some(500_000));
        write("sys/fs/cgroup/memory.max", "400000\n");
        assert_eq!(process_memory(&root), Some(400_000));
        fs::remove_dir_all(&root).unwrap();
    }
}
