//! The code of each case of `crates/wawo-build/tests/cases/builds`, without a warning of the
//! compiler or of rustdoc.

#![deny(warnings, rustdoc::all)]
#![allow(clippy::all, reason = "names and sizes come from the schemas")]

include!(concat!(env!("OUT_DIR"), "/cases.rs"));

/// Types of a user's own, for `extern_path`. They implement what a message must, and no more.
pub mod own {
    use wawo::codegen::prost;

    #[derive(Clone, PartialEq, prost::Message)]
    #[prost(prost_path = "prost")]
    pub struct Opaque {
        #[prost(double, tag = "1")]
        pub weight: f64,
        #[prost(string, tag = "2")]
        pub text: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    #[prost(prost_path = "prost")]
    pub struct Handle {
        #[prost(double, tag = "1")]
        pub weight: f64,
        #[prost(string, tag = "2")]
        pub text: String,
    }
}
