//! Checks the listings of the public API, `api/CRATE.txt`, so that each change of the API shows in a diff.
//!
//! ```text
//!  cargo rustdoc ──► target/doc/CRATE.json ──► public_api ──► lines ──► compared with api/CRATE.txt
//! ```
//!
//! With `--write` the lines replace the listing. The JSON of rustdoc is not stable: a nightly rustdoc
//! writes it, a stable one only with `RUSTC_BOOTSTRAP=1`. Cargo must not see this variable, or it would
//! build all dependencies anew. So cargo calls this program as its rustdoc; the program sets the variable,
//! and calls the real rustdoc.
//!
//! The JSON has a format version, which changes with the toolchain. If that is not [`FORMAT`], the JSON
//! cannot be read; then the program skips the check, and prints a line that says so.

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use serde_json::Value;

/// The version of rustdoc's JSON that this version of `public_api` reads.
const FORMAT: u64 = 57;

/// The variable that is set where cargo calls this program as rustdoc.
const AS_RUSTDOC: &str = "WAWO_API_AS_RUSTDOC";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    if env::var_os(AS_RUSTDOC).is_some() {
        return rustdoc();
    }
    let writes = match env::args().nth(1).as_deref() {
        None => false,
        Some("--write") => true,
        Some(other) => {
            eprintln!("public-api: unknown argument `{other}`; the only one is --write");
            return ExitCode::FAILURE;
        }
    };
    match run(writes) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("public-api: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Passes its arguments on to the real rustdoc, with the variable that makes a stable one accept nightly
/// arguments.
fn rustdoc() -> ExitCode {
    let mut rustdoc = Command::new("rustdoc");
    rustdoc
        .args(env::args_os().skip(1))
        .env("RUSTC_BOOTSTRAP", "1");
    match rustdoc.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cannot run rustdoc: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Compares or writes all listings; `false` if one differs.
fn run(writes: bool) -> Result<bool> {
    let workspace = Workspace::read()?;
    let mut are_same = true;
    for package in &workspace.libraries {
        let json = workspace.document(package)?;
        let format = format_of(&json)?;
        if format != FORMAT {
            eprintln!(
                "public-api: SKIPPED, the public API was NOT compared: the rustdoc of this toolchain \
                 writes JSON of version {format}, and version {FORMAT} is read (api/Cargo.toml)"
            );
            return Ok(!writes);
        }
        let (lines, listing) = (lines(json)?, workspace.listing(package));
        match writes {
            true => fs::write(&listing, lines)?,
            false => are_same &= compare(&listing, &lines)?,
        }
    }
    are_same &= workspace.has_no_other_listings(writes)?;
    match (writes, are_same) {
        (true, _) => println!("public-api: wrote {}", workspace.libraries.join(", ")),
        (false, true) => println!("public-api: as listed: {}", workspace.libraries.join(", ")),
        (false, false) => {
            eprintln!("public-api: write the change down by scripts/public-api --write")
        }
    }
    Ok(are_same)
}

/// The packages whose API is listed.
struct Workspace {
    root: PathBuf,
    target: PathBuf,
    libraries: Vec<String>,
}

impl Workspace {
    fn read() -> Result<Self> {
        let mut cargo = Command::new(env::var_os("CARGO").ok_or("run it with cargo")?);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .canonicalize()?;
        cargo.args(["metadata", "--no-deps", "--format-version=1"]);
        let output = cargo.current_dir(&root).stderr(Stdio::inherit()).output()?;
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let packages = metadata["packages"].as_array().ok_or("no packages")?;
        let libraries = packages.iter().filter(|package| is_library(package));
        let names = libraries.filter_map(|package| package["name"].as_str());
        Ok(Self {
            root,
            target: metadata["target_directory"]
                .as_str()
                .ok_or("no target")?
                .into(),
            libraries: names.map(str::to_owned).collect(),
        })
    }

    /// Lets rustdoc write the JSON of a package; returns its path.
    fn document(&self, package: &str) -> Result<PathBuf> {
        let mut cargo = Command::new(env::var_os("CARGO").ok_or("run it with cargo")?);
        cargo.args([
            "rustdoc",
            "--quiet",
            "--lib",
            "--all-features",
            "--package",
            package,
        ]);
        cargo.args([
            "--",
            "-Zunstable-options",
            "--output-format=json",
            "--cap-lints=allow",
        ]);
        cargo
            .env("RUSTDOC", env::current_exe()?)
            .env(AS_RUSTDOC, "1");
        if !cargo.current_dir(&self.root).status()?.success() {
            return Err(format!("rustdoc fails for {package}").into());
        }
        let name = package.replace('-', "_");
        Ok(self.target.join("doc").join(name).with_extension("json"))
    }

    fn listing(&self, package: &str) -> PathBuf {
        self.root.join("api").join(package).with_extension("txt")
    }

    /// Whether each listing belongs to a package. If `removes` is set, deletes those that do not.
    fn has_no_other_listings(&self, removes: bool) -> Result<bool> {
        let mut has_none = true;
        for entry in fs::read_dir(self.root.join("api"))? {
            let path = entry?.path();
            let is_listing = path.extension().is_some_and(|extension| extension == "txt");
            if !is_listing || self.libraries.iter().any(|name| self.listing(name) == path) {
                continue;
            }
            if removes {
                fs::remove_file(path)?;
                continue;
            }
            eprintln!("public-api: {} lists no package", path.display());
            has_none = false;
        }
        Ok(has_none)
    }
}

/// Whether a package is published and has a library.
fn is_library(package: &Value) -> bool {
    let is_private = package["publish"].as_array().is_some_and(Vec::is_empty);
    let mut targets = package["targets"].as_array().into_iter().flatten();
    !is_private && targets.any(|target| target["kind"][0] == "lib")
}

fn format_of(json: &Path) -> Result<u64> {
    let json: Value = serde_json::from_slice(&fs::read(json)?)?;
    let format = json["format_version"].as_u64();
    Ok(format.ok_or("the JSON of rustdoc names no version")?)
}

/// The public items, one a line, without the traits that the compiler implements by itself.
fn lines(json: PathBuf) -> Result<String> {
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .include_function_parameter_names(true)
        .build()?;
    Ok(api.items().map(|item| format!("{item}\n")).collect())
}

fn compare(listing: &Path, lines: &str) -> Result<bool> {
    // If there is no listing, the whole API is new.
    let listed = fs::read_to_string(listing).unwrap_or_default();
    let (before, after): (BTreeSet<_>, BTreeSet<_>) =
        (listed.lines().collect(), lines.lines().collect());
    if before == after {
        return Ok(true);
    }
    eprintln!("public-api: {} differs:", listing.display());
    before
        .difference(&after)
        .for_each(|line| eprintln!("- {line}"));
    after
        .difference(&before)
        .for_each(|line| eprintln!("+ {line}"));
    Ok(false)
}
