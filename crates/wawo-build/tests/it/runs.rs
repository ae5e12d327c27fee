//! Build scripts: processes that make one or several calls and write to `OUT_DIR`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use wawo_build::Builder;

use crate::cases::{Case, files, name_of};

/// The variable with the folders of a build script: one for each of its calls.
const CALLS: &str = "WAWO_BUILD_TEST_CALLS";

/// The build script. It does nothing unless a test below runs it in a process of its own.
#[test]
fn build_script() {
    let Some(calls) = env::var_os(CALLS) else {
        return;
    };
    for folder in env::split_paths(&calls) {
        let result = Builder::new().compile(&files(&folder), &[&folder]);
        result.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// A crate whose build script is run.
pub(crate) struct Crate {
    folder: TempDir,
}

impl Crate {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("out")).expect("a folder");
        Self { folder }
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Writes a schema with one package for each call, and runs the build script.
    pub(crate) fn build(&self, packages: &[&str]) -> Result<(), String> {
        let mut calls = Vec::new();
        for (call, package) in packages.iter().enumerate() {
            let folder = self.folder.path().join(call.to_string());
            fs::create_dir_all(&folder).expect("a folder");
            let text = format!("syntax = \"proto3\"; package {package}; message M{call} {{}}");
            fs::write(folder.join(format!("{call}.proto")), text).expect("a file");
            calls.push(folder);
        }
        self.run(&calls)
    }

    fn run(&self, calls: &[PathBuf]) -> Result<(), String> {
        let this = env::current_exe().expect("the test binary");
        let output = Command::new(this)
            .args(["--exact", "runs::build_script", "--nocapture"])
            .env(CALLS, env::join_paths(calls).expect("paths"))
            .env("OUT_DIR", self.out())
            .output()
            .expect("a process");
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// The names of the generated files, without those that every build writes.
    fn generated(&self) -> Vec<String> {
        let files = files(&self.out());
        let mut names = files.iter().map(|file| name_of(file)).collect::<Vec<_>>();
        names.retain(|name| !name.starts_with("wawo_build_"));
        names
    }
}

#[test]
fn files_that_are_no_longer_produced_are_removed() {
    let project = Crate::new();
    project.build(&["old", "kept"]).expect("a build");
    assert_eq!(
        project.generated(),
        ["kept.fds", "kept.rs", "old.fds", "old.rs"]
    );
    project.build(&["new", "kept"]).expect("a build");
    assert_eq!(
        project.generated(),
        ["kept.fds", "kept.rs", "new.fds", "new.rs"]
    );
    project.build(&["kept"]).expect("a build");
    assert_eq!(project.generated(), ["kept.fds", "kept.rs"]);
}

#[test]
fn files_of_others_are_never_removed() {
    let project = Crate::new();
    project.build(&["old", "other"]).expect("a build");
    let [own, changed] = ["own.rs", "old.rs"].map(|name| project.out().join(name));
    fs::write(own, "// the user's").expect("a file");
    fs::write(changed, "// changed since").expect("a file");
    // A list that names files outside of the folder is not believed.
    let outside = project.folder.path().join("outside.rs");
    fs::write(&outside, "").expect("a file");
    let list = project.out().join("wawo_build_files");
    let text = fs::read_to_string(&list).expect("a list");
    fs::write(&list, text + "cbf29ce484222325 0 ../outside.rs\nnonsense\n").expect("a file");
    project.build(&["new"]).expect("a build");
    assert_eq!(
        project.generated(),
        ["new.fds", "new.rs", "old.rs", "own.rs"]
    );
    assert!(outside.exists());
}

#[test]
fn files_that_are_the_same_keep_their_time() {
    let project = Crate::new();
    project.build(&["a"]).expect("a build");
    let file = project.out().join("a.rs");
    let time = |file: &Path| {
        fs::metadata(file)
            .expect("a file")
            .modified()
            .expect("a time")
    };
    let before = time(&file);
    project.build(&["a"]).expect("a build");
    assert_eq!(time(&file), before);
}

#[test]
fn two_calls_that_write_one_package_are_an_error() {
    let project = Crate::new();
    let error = project.build(&["hw", "hw"]).expect_err("two calls");
    let expected = format!(
        "two calls of `compile` write `hw.rs` to `{}`, each with another content: the package `hw`; \
         compile all files of a package in one call, or give each call a folder of its own by \
         `out_dir`",
        project.out().display()
    );
    assert!(error.contains(&expected), "{error}");
    let code = fs::read_to_string(project.out().join("hw.rs")).expect("the first call's");
    assert!(
        code.contains("struct M0") && !code.contains("struct M1"),
        "{code}"
    );
}

#[test]
fn the_case_of_two_calls_is_an_error() {
    let case = Case::new("refused/one-package-two-compiles");
    let project = Crate::new();
    let mut calls = Vec::new();
    for file in case.protos() {
        let folder = project
            .folder
            .path()
            .join(file.file_stem().expect("a name"));
        fs::create_dir(&folder).expect("a folder");
        fs::copy(&file, folder.join("a.proto")).expect("a file");
        calls.push(folder);
    }
    let error = project.run(&calls).expect_err("two calls");
    assert!(
        error.contains("two calls of `compile` write `hw.rs`"),
        "{error}"
    );
}

#[test]
fn two_calls_may_share_an_import() {
    let project = Crate::new();
    let mut calls = Vec::new();
    for name in ["one", "two"] {
        let folder = project.folder.path().join(name);
        fs::create_dir(&folder).expect("a folder");
        let shared = "syntax = \"proto3\"; package shared; message M {}";
        fs::write(folder.join("shared.proto"), shared).expect("a file");
        let text = format!(
            "syntax = \"proto3\"; package {name}; import \"shared.proto\"; message N {{ shared.M m = 1; }}"
        );
        fs::write(folder.join("own.proto"), text).expect("a file");
        calls.push(folder);
    }
    project.run(&calls).expect("the same code of the import");
    let expected = [
        "one.fds",
        "one.rs",
        "shared.fds",
        "shared.rs",
        "two.fds",
        "two.rs",
    ];
    assert_eq!(project.generated(), expected);
}
