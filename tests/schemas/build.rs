//! Compiles each folder of schemas that must build, into a module of its own.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use wawo_build::Builder;

fn main() -> Result<(), Box<dyn Error>> {
    let cases = cases()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut modules = String::new();
    for case in files_in(&cases)? {
        let name = case.file_name().ok_or("a folder")?.to_string_lossy();
        let folder = out.join(&*name);
        fs::create_dir_all(&folder)?;
        builder(&name)
            .out_dir(folder)
            .include_file("all.rs")
            .compile(&protos(&case)?, &[&case])?;
        let module = name.replace('-', "_");
        modules += &format!("pub mod {module} {{ include!(\"{name}/all.rs\"); }}\n");
    }
    fs::write(out.join("cases.rs"), modules)?;
    Ok(())
}

/// The folder of the cases, seen from the crates of both editions.
fn cases() -> Result<PathBuf, Box<dyn Error>> {
    const CASES: &str = "crates/wawo-build/tests/cases/builds";
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let mut roots = here.ancestors().map(|root| root.join(CASES));
    let cases = roots.find(|cases| cases.is_dir()).ok_or("no cases")?;
    println!("cargo::rerun-if-changed={}", cases.display());
    Ok(cases)
}

fn builder(case: &str) -> Builder {
    match case {
        "extern-type-not-copy" => Builder::new().extern_path(".ext.v1", "crate::own"),
        _ => Builder::new(),
    }
}

fn protos(case: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = files_in(case)?;
    files.retain(|file| file.extension().is_some_and(|end| end == "proto"));
    Ok(files)
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let files = fs::read_dir(folder)?.map(|file| Ok(file?.path()));
    let mut files = files.collect::<Result<Vec<_>, std::io::Error>>()?;
    files.sort();
    Ok(files)
}
