//! The errors of `wawo::include_proto!`, as the compiler prints them.

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::runs::Crate;

/// A crate that includes generated code, with the macro of the crate `wawo` and no more of it.
struct User {
    folder: TempDir,
}

impl User {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let text = fs::read_to_string(root.join("src/lib.rs")).expect("the crate `wawo`");
        let at = text
            .find("#[macro_export]\nmacro_rules! include_proto")
            .expect("the macro");
        fs::write(folder.path().join("wawo.rs"), &text[at..]).expect("a file");
        fs::create_dir(folder.path().join("src")).expect("a folder");
        let this = Self { folder };
        let output = this.rustc("wawo.rs", false);
        assert!(output.status.success(), "{output:?}");
        this
    }

    /// Compiles a crate of one line; returns the errors of the compiler.
    fn errors(&self, text: &str, has_build_script: bool) -> String {
        fs::write(self.folder.path().join("src/user.rs"), text).expect("a file");
        let output = self.rustc("src/user.rs", has_build_script);
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn rustc(&self, file: &str, has_build_script: bool) -> Output {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut rustc = Command::new(rustc);
        rustc.current_dir(self.folder.path()).env_remove("OUT_DIR");
        rustc.args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
            file,
        ]);
        if file == "src/user.rs" {
            rustc.args(["--extern", "wawo=libwawo.rmeta"]);
        }
        if has_build_script {
            rustc.env("OUT_DIR", self.folder.path());
        }
        rustc.output().expect("a compiler")
    }

    /// Writes the code of packages as a build script does, without what needs the crate `wawo`.
    fn generate(&self, packages: &[&str]) {
        let project = Crate::new();
        project.build(packages).expect("a build");
        let index = project.out().join("wawo_build_packages.rs");
        fs::copy(index, self.folder.path().join("wawo_build_packages.rs")).expect("an index");
        for package in packages {
            let file = self.folder.path().join(format!("{package}.rs"));
            fs::write(file, "pub struct Line;").expect("a file");
        }
    }
}

#[test]
fn a_package_is_found_by_its_name() {
    let user = User::new();
    user.generate(&["chat.v1", "type.Match"]);
    let text = "mod a { wawo::include_proto!(\"chat.v1\"); }
                mod b { wawo::include_proto!(\"type.Match\"); }
                pub fn lines() -> (impl Sized, impl Sized) { (a::Line, b::Line) }";
    assert_eq!(user.errors(text, true), "");
}

#[test]
fn a_package_that_is_not_there_is_an_error_with_those_that_are() {
    let user = User::new();
    user.generate(&["chat.v1", "jobs"]);
    let error = user.errors("mod a { wawo::include_proto!(\"chat.v2\"); }", true);
    let expected = "error: the schemas have no package `chat.v2`: the build script compiles the \
                    packages `chat.v1`, `jobs`";
    assert!(error.starts_with(expected), "{error}");
    let error = user.errors("mod a { wawo::include_proto!(chat.v1); }", true);
    let expected =
        "error: `include_proto!` takes the name of a package as a literal, such as \"chat.v1\"";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_crate_without_a_build_script_is_told_so() {
    let error = User::new().errors("mod a { wawo::include_proto!(\"chat.v1\"); }", false);
    let expected = "error: this crate has no build script, so there is no generated code to include: \
                    add a `build.rs` that calls `wawo_build::compile`, and `wawo-build` to \
                    `[build-dependencies]`";
    assert!(error.starts_with(expected), "{error}");
}
