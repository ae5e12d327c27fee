//! The machine of a run.

use std::{fs, thread};

/// The processors and the system, as a sentence.
pub(crate) fn description() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model_name(&model).unwrap_or("an unknown processor");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = version(&release);
    format!("Machine: {cores} cores of {model}, Linux {version}.")
}

/// The first two numbers of a release. The rest depends on the distribution.
fn version(release: &str) -> String {
    let numbers: Vec<_> = release.trim().split('.').take(2).collect();
    numbers.join(".")
}

/// The first `model name` of proc(5) `cpuinfo`.
fn model_name(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::{description, model_name, version};

    #[test]
    fn the_model_is_what_stands_behind_the_colon() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Fast 9000: X\nmodel name\t: other\n";
        assert_eq!(model_name(cpuinfo), Some("Fast 9000: X"));
        assert_eq!(model_name("processor\t: 0\n"), None);
    }

    #[test]
    fn a_version_is_two_numbers() {
        assert_eq!(version("6.1.0-13-amd64\n"), "6.1");
        assert_eq!(version(""), "");
    }

    #[test]
    fn there_is_always_a_sentence() {
        assert!(description().starts_with("Machine: "));
    }
}
