//! Compiles the schemas of tests and benches.

use std::{error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = "../../proto";
    println!("cargo::rerun-if-changed={root}/tests");
    let mut protos = vec![PathBuf::from(format!("{root}/examples/ping_pong.proto"))];
    for file in fs::read_dir(format!("{root}/tests"))? {
        protos.push(file?.path());
    }
    protos.retain(|file| file.extension().is_some_and(|end| end == "proto"));
    protos.sort();
    wawo_build::compile(&protos, &[root])?;
    Ok(())
}
