//! Generates the stubs of the echo service, with the generator that tonic uses for `.proto` files.
//! Here it gets the methods directly, so no `protoc` is needed.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let service = Service::builder()
        .package("peers")
        .name("Echo")
        .method(method("echo", "Echo", "crate::Message").build())
        .method(
            method("feed", "Feed", "crate::FeedRequest")
                .server_streaming()
                .build(),
        )
        .build();
    Builder::new().compile(&[service]);
}

fn method(name: &str, route: &str, input: &str) -> tonic_build::manual::MethodBuilder {
    Method::builder()
        .name(name)
        .route_name(route)
        .input_type(input)
        .output_type("crate::Message")
        .codec_path("tonic_prost::ProstCodec")
}
