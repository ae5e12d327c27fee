//! Generates the service. The descriptors come from protox, so no `protoc` is needed.

use std::{env, error::Error, fs, path::Path};

use connectrpc_build::Config;
use protox::Compiler;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../echo.proto");
    let descriptors = Path::new(&env::var("OUT_DIR")?).join("echo.bin");
    let mut compiler = Compiler::new([".."])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file("echo.proto")?;
    fs::write(&descriptors, compiler.encode_file_descriptor_set())?;
    Ok(Config::new()
        .generate_json(false)
        .files(&["echo.proto"])
        .descriptor_set(descriptors)
        .include_file("_connectrpc.rs")
        .compile()?)
}
