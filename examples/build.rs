//! Compiles the schemas of the examples. Each example includes the code of the package that it needs
//! by `wawo::include_proto!`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protos = [
        "../proto/examples/accounts.proto",
        "../proto/examples/chat.proto",
        "../proto/examples/fleet.proto",
        "../proto/examples/jobs.proto",
        "../proto/examples/kitchen.proto",
        "../proto/examples/ping_pong.proto",
        "../proto/examples/places.proto",
        "../proto/examples/till.proto",
    ];
    Ok(wawo_build::compile(&protos, &["../proto"])?)
}
