//! Compiles the schema of the tests; the crate itself knows no schema.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    wawo_build::compile(&["proto/echo.proto"], &["proto"])?;
    Ok(())
}
