//! Generates the messages and stubs of the echo service. ttrpc's generator needs no `protoc`.

use std::{env, fs, io};

use ttrpc_codegen::{Codegen, Customize, ProtobufCustomize};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=../proto/echo.proto");
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    Codegen::new()
        .out_dir(&out)
        .include("../proto")
        .input("../proto/echo.proto")
        .rust_protobuf()
        .rust_protobuf_customize(ProtobufCustomize::default().tokio_bytes(true))
        .customize(Customize {
            async_all: true,
            ..Customize::default()
        })
        .run()?;
    // A file that begins with `#![..]` cannot be included, but it can be a module.
    let modules = format!(
        "#[path = {:?}] pub mod echo;\n#[path = {:?}] pub mod echo_ttrpc;\n",
        format!("{out}/echo.rs"),
        format!("{out}/echo_ttrpc.rs"),
    );
    fs::write(format!("{out}/modules.rs"), modules)
}
