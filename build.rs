//! Compiles the schemas of examples, tests and benches.

use std::{error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let mut protos: Vec<PathBuf> = Vec::new();
    for folder in ["proto/examples", "proto/tests"] {
        println!("cargo::rerun-if-changed={folder}");
        for file in fs::read_dir(folder)? {
            protos.push(file?.path());
        }
    }
    protos.retain(|file| file.extension().is_some_and(|end| end == "proto"));
    protos.sort();
    wawo_build::compile(&protos, &["proto"])?;
    Ok(())
}
