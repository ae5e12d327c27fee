//! Measures the build of a minimal server of each framework: `peers-run build`.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harness::{Flags, cpu};

use crate::{machine, publish, section::Section, table};

/// Builds each framework's server and prints a table.
///
/// # Errors
///
/// A flag is wrong, or a build failed.
pub(crate) fn run(words: Vec<String>) -> Result<()> {
    let mut flags = Flags::parse(words)?;
    let frameworks: String = flags.take_or("--frameworks", FRAMEWORKS.join(","))?;
    let report: Option<PathBuf> = flags.take("--report")?;
    flags.finish()?;
    let mut lines = Vec::new();
    for name in frameworks.split(',') {
        writeln!(io::stderr(), "W8: {name}")?;
        let build = Build::measure(name).with_context(|| format!("build {name}"))?;
        lines.push(build.line(name));
    }
    let section = Section {
        name: "W8",
        title: "W8: a minimal server, built from nothing".to_owned(),
        table: table::markdown(&HEAD.map(str::to_owned), lines.into_iter()),
        note: format!("{NOTE} {}", machine::description()),
        charts: Vec::new(),
    };
    publish(&section, report.as_deref())
}

/// The result of one build.
#[derive(Debug)]
struct Build {
    crates: usize,
    crates_with_build: usize,
    wall: Duration,
    cpu: Duration,
    size_bytes: u64,
}

impl Build {
    fn measure(name: &str) -> Result<Self> {
        let server = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../minimal")
            .join(name);
        let manifest = server.join("Cargo.toml");
        // The build time excludes downloads.
        cargo("fetch", &manifest).run()?;
        let crates = count_crates(&manifest, "normal")?;
        let crates_with_build = count_crates(&manifest, "normal,build")?;
        let target = tempfile::tempdir()?;
        let cpu_before = cpu::time_of_children()?;
        let start = Instant::now();
        cargo("build", &manifest)
            .args(["--offline", "--release", "--target-dir"])
            .arg(target.path())
            .run()?;
        let wall = start.elapsed();
        let binary = target
            .path()
            .join("release")
            .join(format!("minimal-{name}"));
        Ok(Self {
            crates,
            crates_with_build,
            wall,
            cpu: cpu::time_of_children()?.saturating_sub(cpu_before),
            size_bytes: fs::metadata(&binary)
                .with_context(|| binary.display().to_string())?
                .len(),
        })
    }

    fn line(&self, name: &str) -> Vec<String> {
        vec![
            name.to_owned(),
            self.crates.to_string(),
            self.crates_with_build.to_string(),
            format!("{:.0}", self.wall.as_secs_f64()),
            format!("{:.0}", self.cpu.as_secs_f64()),
            format!("{:.0}", self.size_bytes as f64 / 1e3),
        ]
    }
}

/// The number of crates of the server, including itself.
fn count_crates(manifest: &Path, edges: &str) -> Result<usize> {
    let tree = cargo("tree", manifest)
        .args([
            "--offline",
            "--prefix",
            "none",
            "--no-dedupe",
            "--edges",
            edges,
        ])
        .stdout(Stdio::piped())
        .output()?;
    ensure!(tree.status.success(), "cargo tree: {}", tree.status);
    Ok(distinct(&String::from_utf8(tree.stdout)?))
}

/// The number of different crates that `cargo tree` names.
fn distinct(tree: &str) -> usize {
    let crates: BTreeSet<_> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (proc-macro)"))
        .filter(|line| !line.is_empty() && !line.starts_with('['))
        .collect();
    crates.len()
}

/// A cargo command that keeps to the lock file. It uses the cargo that started this process, or
/// else the one in the path.
fn cargo(subcommand: &str, manifest: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args([subcommand, "--quiet", "--locked", "--manifest-path"])
        .arg(manifest)
        .stdin(Stdio::null());
    command
}

/// Runs a command and drops its output.
trait Run {
    fn run(&mut self) -> Result<()>;
}

impl Run for Command {
    fn run(&mut self) -> Result<()> {
        let status = self.stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{status}");
        Ok(())
    }
}

/// The frameworks with a server in `minimal`.
const FRAMEWORKS: [&str; 5] = ["connectrpc", "tarpc", "tonic", "ttrpc", "wawo"];

const HEAD: [&str; 6] = [
    "framework",
    "crates",
    "with those that only build needs",
    "wall s",
    "CPU s",
    "stripped KB",
];

const NOTE: &str = "Cargo's release profile with `strip`; sources were there before. None needs \
                    `protoc`: tonic and connectrpc read their schema with protox.";

#[cfg(test)]
mod tests {
    use super::distinct;

    #[test]
    fn a_crate_counts_once_however_often_it_is_used() {
        let tree = "minimal-tonic v0.1.0 (/somewhere)\nbytes v1.11.0\ntokio-macros v2.6.0 (proc-macro)\n\
                    bytes v1.11.0\ntokio-macros v2.6.0\n\n[build-dependencies]\nbytes v1.10.0\n";
        assert_eq!(distinct(tree), 4);
    }
}
