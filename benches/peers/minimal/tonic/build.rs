//! Generates the service. The descriptors come from protox, so no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../echo.proto");
    let descriptors = protox::compile(["echo.proto"], [".."])?;
    Ok(tonic_prost_build::configure()
        .build_client(false)
        .compile_fds(descriptors)?)
}
