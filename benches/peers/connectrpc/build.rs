//! Generates the messages and stubs of the echo service. The descriptors come from protox, so no
//! `protoc` is needed.

use std::{env, fs, path::Path};

use anyhow::Result;
use buffa_codegen::{BytesRepr, CodeGenConfig};
use connectrpc_build::Config;
use protox::Compiler;

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=../proto/echo.proto");
    let descriptors = Path::new(&env::var("OUT_DIR")?).join("echo.bin");
    let mut compiler = Compiler::new(["../proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file("echo.proto")?;
    fs::write(&descriptors, compiler.encode_file_descriptor_set())?;
    let mut buffa = CodeGenConfig::default();
    buffa.bytes_fields = vec![(".".to_owned(), BytesRepr::Bytes)];
    Config::new()
        .buffa_config(buffa)
        .generate_json(false)
        .files(&["echo.proto"])
        .descriptor_set(descriptors)
        .include_file("_connectrpc.rs")
        .compile()
}
