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

/// The variable with the output folders of the same calls, if they set them.
const OUTPUTS: &str = "WAWO_BUILD_TEST_OUTPUTS";

/// The build script. It does nothing unless a test below runs it in a process of its own.
#[test]
fn build_script() {
    let Some(calls) = env::var_os(CALLS) else {
        return;
    };
    let outputs = env::var_os(OUTPUTS);
    let mut outputs = outputs.iter().flat_map(env::split_paths);
    for folder in env::split_paths(&calls) {
        let mut builder = Builder::new();
        if let Some(output) = outputs.next() {
            builder = builder.out_dir(output);
        }
        let result = builder.compile(&files(&folder), &[&folder]);
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
        self.run(&self.calls(packages), &[])
    }

    /// The same with an output folder for each call. Relative ones are below the folder of the crate.
    fn build_to(&self, outputs: &[&Path], packages: &[&str]) -> Result<(), String> {
        self.run(&self.calls(packages), outputs)
    }

    fn calls(&self, packages: &[&str]) -> Vec<PathBuf> {
        let mut calls = Vec::new();
        for (call, package) in packages.iter().enumerate() {
            let folder = self.folder.path().join(call.to_string());
            fs::create_dir_all(&folder).expect("a folder");
            let text = format!("syntax = \"proto3\"; package {package}; message M{call} {{}}");
            fs::write(folder.join(format!("{call}.proto")), text).expect("a file");
            calls.push(folder);
        }
        calls
    }

    fn run(&self, calls: &[PathBuf], outputs: &[&Path]) -> Result<(), String> {
        let this = env::current_exe().expect("the test binary");
        let mut script = Command::new(this);
        script
            .args(["--exact", "runs::build_script", "--nocapture"])
            .current_dir(self.folder.path())
            .env(CALLS, env::join_paths(calls).expect("paths"))
            .env("OUT_DIR", self.out());
        if !outputs.is_empty() {
            script.env(OUTPUTS, env::join_paths(outputs).expect("paths"));
        }
        let output = script.output().expect("a process");
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// The names of the generated files, without those that every build writes.
    fn generated(&self) -> Vec<String> {
        let mut files = files(&self.out());
        files.retain(|file| file.is_file());
        let mut names = files.iter().map(|file| name_of(file)).collect::<Vec<_>>();
        names.retain(|name| !name.starts_with("wawo_build_"));
        names
    }
}

/// Builds twice, with two calls each whose output folders are `OUT_DIR` and the given one, and checks
/// that neither build loses a file.
fn expect_one_folder(project: &Crate, other: &Path) {
    let out = project.out();
    for _ in 0..2 {
        let built = project.build_to(&[&out, other], &["a", "b"]);
        built.expect("a build");
        assert_eq!(project.generated(), ["a.fds", "a.rs", "b.fds", "b.rs"]);
    }
    let index = fs::read_to_string(out.join("wawo_build_packages.rs")).expect("an index");
    assert!(
        index.contains("(\"a\")") && index.contains("(\"b\")"),
        "{index}"
    );
}

#[test]
fn a_folder_is_the_same_however_it_is_spelled() {
    let project = Crate::new();
    fs::create_dir(project.out().join("sub")).expect("a folder");
    expect_one_folder(&project, &project.out().join("sub/.."));
    expect_one_folder(&project, Path::new("out"));
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_is_that_folder() {
    let project = Crate::new();
    let link = project.out().join("self");
    std::os::unix::fs::symlink(project.out(), &link).expect("a link");
    expect_one_folder(&project, &link);
}

#[test]
fn a_folder_outside_of_out_dir_keeps_its_files_however_it_is_spelled() {
    let project = Crate::new();
    fs::create_dir(project.folder.path().join("checked")).expect("a folder");
    let checked_in = project.out().join("../checked");
    for package in ["old", "new"] {
        let built = project.build_to(&[&checked_in], &[package]);
        built.expect("a build");
    }
    let names = files(&project.folder.path().join("checked"));
    let names = names.iter().map(|file| name_of(file)).collect::<Vec<_>>();
    assert_eq!(names, ["new.fds", "new.rs", "old.fds", "old.rs"]);
}

#[test]
fn a_relative_folder_in_out_dir_loses_files_that_are_no_longer_produced() {
    let project = Crate::new();
    for package in ["old", "new"] {
        let built = project.build_to(&[Path::new("out")], &[package]);
        built.expect("a build");
    }
    assert_eq!(project.generated(), ["new.fds", "new.rs"]);
}

#[test]
fn an_output_folder_that_cannot_be_created_is_an_error() {
    let project = Crate::new();
    fs::write(project.out().join("file"), "").expect("a file");
    let folder = project.out().join("file").join("sub");
    let error = project.build_to(&[&folder], &["a"]).expect_err("a file");
    let expected = format!("cannot create the output folder `{}`: ", folder.display());
    assert!(error.contains(&expected), "{error}");
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
    let error = project.run(&calls, &[]).expect_err("two calls");
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
    project
        .run(&calls, &[])
        .expect("the same code of the import");
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
