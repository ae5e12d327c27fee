//! Generates the echo service.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    Ok(wawo_build::compile(&["proto/echo.proto"], &["proto"])?)
}
