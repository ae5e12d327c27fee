//! Compiles every `.proto` file with a service below some folders, and writes a crate with the code
//! of some of them: `real_schemas OUT_CRATE ROOT... -- FOLDER...`
//!
//! Each root is an include path. The code of the folders, which are below the last root, is written
//! to the crate `OUT_CRATE`, to be built later. The program fails if a file fails for a reason that
//! does not lie in the message library.

#![allow(clippy::print_stdout, reason = "it is a command")]

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use wawo_build::Builder;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<PathBuf> = env::args().skip(1).map(PathBuf::from).collect();
    let [out, rest @ ..] = &args[..] else {
        return Err("real_schemas OUT_CRATE ROOT... -- FOLDER...".into());
    };
    let mut halves = rest.split(|arg| arg.as_os_str() == "--");
    let (roots, folders) = (halves.next().unwrap_or(&[]), halves.next().unwrap_or(&[]));
    let mut unexpected = 0;
    for (index, root) in roots.iter().enumerate() {
        unexpected += compile_each(root, &out.join("each").join(index.to_string()))?;
    }
    if let Some(root) = roots.last() {
        write_crate(root, folders, out)?;
    }
    match unexpected {
        0 => Ok(()),
        count => Err(format!("{count} files could not be compiled").into()),
    }
}

/// Compiles each file by itself, into a folder of its own below `out`, as several files may be of one
/// package; returns the number of failures for unknown reasons.
fn compile_each(root: &Path, out: &Path) -> Result<usize, Box<dyn Error>> {
    let files = with_services(root)?;
    let (mut good, mut services, mut unexpected) = (0, 0, 0);
    for (index, file) in files.iter().enumerate() {
        let out = out.join(index.to_string());
        let builder = Builder::new().out_dir(&out);
        match builder
            .prost(|prost| _ = prost.format(false))
            .compile(&[file], &[root])
        {
            Ok(()) => {
                good += 1;
                services += count_services(&fs::read_to_string(file)?);
            }
            Err(error) => {
                // protox and prost do not support editions yet.
                let known = error.to_string().contains("editions");
                unexpected += usize::from(!known);
                println!("cannot compile {}: {error}", file.display());
            }
        }
        // It is not there if the file could not be compiled.
        let _ = fs::remove_dir_all(&out);
    }
    println!(
        "{}: {good} of {} files with services compile, {services} services",
        root.display(),
        files.len()
    );
    Ok(unexpected)
}

/// Writes a crate with the code of all services below the folders.
fn write_crate(root: &Path, folders: &[PathBuf], out: &Path) -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    for folder in folders {
        files.extend(with_services(&root.join(folder))?);
    }
    let source = out.join("src");
    fs::create_dir_all(&source)?;
    let builder = Builder::new().out_dir(&source).include_file("protos.rs");
    builder.compile(&files, &[root])?;
    let mut services = 0;
    let mut streams = 0;
    for file in &files {
        let text = fs::read_to_string(file)?;
        services += count_services(&text);
        streams += text.matches("stream ").count();
    }
    println!(
        "to be built: {services} services of {} files, {streams} streams",
        files.len()
    );
    Ok(())
}

/// Returns all files below a folder that declare a service, sorted.
fn with_services(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?
        {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "proto")
                && count_services(&fs::read_to_string(&path).unwrap_or_default()) > 0
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn count_services(text: &str) -> usize {
    text.lines()
        .filter(|line| line.starts_with("service "))
        .count()
}
