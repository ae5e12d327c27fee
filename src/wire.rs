//! The protobuf messages that the framework itself sends; their schema is `proto/wawo/wire.proto`.

use prost_types::Any;

/// The services of one side, in its hello.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ServiceTable {
    #[prost(message, repeated, tag = "1")]
    pub(crate) services: Vec<ServiceEntry>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ServiceEntry {
    #[prost(uint32, tag = "1")]
    pub(crate) id: u32,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(fixed64, tag = "3")]
    pub(crate) fingerprint: u64,
}

/// The details of a status, as the end packet has them.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StatusDetails {
    #[prost(message, repeated, tag = "1")]
    pub(crate) details: Vec<Any>,
}
