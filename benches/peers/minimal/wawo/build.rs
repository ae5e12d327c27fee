//! Generates the service.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    Ok(wawo_build::compile(&["../echo.proto"], &[".."])?)
}
