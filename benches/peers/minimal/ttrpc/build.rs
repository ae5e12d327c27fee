//! Generates the service.

use std::{env, fs, io};

use ttrpc_codegen::{Codegen, Customize};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=../echo.proto");
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    Codegen::new()
        .out_dir(&out)
        .include("..")
        .input("../echo.proto")
        .rust_protobuf()
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
