//! Reads services from a `google.protobuf.FileDescriptorSet`.
//!
//! It reads the parts that a [`ServiceDescriptor`] holds, and wawo's options, which are extensions. The
//! types of prost-types have no room for extensions, so the few messages are defined here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use wawo_protocol::{DERIVED_ID, MethodId, ServiceId, Shape};

use crate::descriptor::{
    builder::MethodBuilder,
    error::DescriptorError,
    method::{Idempotency, MethodDescriptor},
    service::ServiceDescriptor,
};

impl ServiceDescriptor {
    /// All services of an encoded `google.protobuf.FileDescriptorSet`, in the order of its files.
    /// Each of them keeps the set as its [`file_descriptor_set`](Self::file_descriptor_set); they
    /// share one copy of it.
    ///
    /// Names, types, shapes and idempotency are read, and the options `(wawo.service)` and
    /// `(wawo.method)`, as `wawo_build` reads them. So a service has the same ids and the same
    /// fingerprint as in generated code.
    ///
    /// # Errors
    ///
    /// If the bytes are not such a set, if it has two different files with the same name, or if an option
    /// breaks a rule of `wawo/options.proto`.
    pub fn all_in(set: &[u8]) -> Result<Vec<Self>, DescriptorError> {
        services(set)
    }
}

fn services(set: &[u8]) -> Result<Vec<ServiceDescriptor>, DescriptorError> {
    let files = FileSet::decode(set).map_err(DescriptorError::Unreadable)?;
    let shared: Arc<[u8]> = set.into();
    let mut seen = BTreeMap::new();
    let mut names = BTreeSet::new();
    let mut services = Vec::new();
    for bytes in files.file {
        let file = File::decode(bytes.clone()).map_err(DescriptorError::Unreadable)?;
        match seen.get(&file.name) {
            None => drop(seen.insert(file.name.clone(), bytes)),
            Some(other) if *other == bytes => continue,
            Some(_) => return Err(DescriptorError::FileDiffers(file.name)),
        }
        for service in file.service {
            let service = describe(&file.package, service, &shared)?;
            if !names.insert(service.name().to_owned()) {
                return Err(DescriptorError::DuplicateName(service.name().to_owned()));
            }
            services.push(service);
        }
    }
    Ok(services)
}

fn describe(
    package: &str,
    service: Service,
    files: &Arc<[u8]>,
) -> Result<ServiceDescriptor, DescriptorError> {
    let full_name = match package {
        "" => service.name,
        package => format!("{package}.{}", service.name),
    };
    let mut builder = ServiceDescriptor::builder(full_name.as_str()).files(files.clone());
    let options = service.options.unwrap_or_default().wawo.unwrap_or_default();
    if let Some(id) = options.id {
        builder = builder.id(ServiceId(check_id(&full_name, id)?));
    }
    for method in service.method {
        builder = builder.method(describe_method(&full_name, method)?);
    }
    builder.build()
}

fn describe_method(service: &str, method: Method) -> Result<MethodBuilder, DescriptorError> {
    let path = format!("{service}/{}", method.name);
    let options = method.options.unwrap_or_default();
    let wawo = options.wawo.unwrap_or_default();
    let [input, output] = [&method.input_type, &method.output_type].map(|name| {
        // Compilers write full names with a dot in front.
        name.strip_prefix('.').unwrap_or(name)
    });
    let has_stream = method.client_streaming || method.server_streaming;
    let one_way = wawo.one_way.unwrap_or(false);
    if one_way && (has_stream || output != "google.protobuf.Empty") {
        return Err(DescriptorError::OneWay(path));
    }
    let shape = match one_way {
        true => Shape::OneWay,
        false => Shape::of_streams(method.client_streaming, method.server_streaming),
    };
    let mut builder = MethodDescriptor::builder(method.name, shape)
        .types(input, output)
        .idempotency(match options.idempotency_level {
            1 => Idempotency::NoSideEffects,
            2 => Idempotency::Idempotent,
            _ => Idempotency::Unknown,
        });
    if let Some(id) = wawo.id {
        builder = builder.id(MethodId(check_id(&path, id)?));
    }
    if let Some(millis) = wawo.timeout_ms {
        builder = builder.timeout(Duration::from_millis(millis.into()));
    }
    if wawo.run_to_completion.unwrap_or(false) {
        builder = builder.run_to_completion();
    }
    if wawo.blocking.unwrap_or(false) {
        builder = builder.blocking();
    }
    Ok(builder)
}

fn check_id(name: &str, id: u32) -> Result<u32, DescriptorError> {
    if (1..DERIVED_ID).contains(&id) {
        return Ok(id);
    }
    let name = name.to_owned();
    Err(DescriptorError::IdOutOfRange { name, id })
}

/// `google.protobuf.FileDescriptorSet`. Its files stay encoded, so that they can be compared.
#[derive(Clone, PartialEq, Message)]
struct FileSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

/// `google.protobuf.FileDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    service: Vec<Service>,
}

/// `google.protobuf.ServiceDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    method: Vec<Method>,
    #[prost(message, optional, tag = "3")]
    options: Option<ServiceOptions>,
}

/// `google.protobuf.ServiceOptions`.
#[derive(Clone, PartialEq, Message)]
struct ServiceOptions {
    #[prost(message, optional, tag = "50730")]
    wawo: Option<WawoServiceOptions>,
}

/// `wawo.ServiceOptions`.
#[derive(Clone, PartialEq, Message)]
struct WawoServiceOptions {
    #[prost(uint32, optional, tag = "1")]
    id: Option<u32>,
}

/// `google.protobuf.MethodDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    input_type: String,
    #[prost(string, tag = "3")]
    output_type: String,
    #[prost(message, optional, tag = "4")]
    options: Option<MethodOptions>,
    #[prost(bool, tag = "5")]
    client_streaming: bool,
    #[prost(bool, tag = "6")]
    server_streaming: bool,
}

/// `google.protobuf.MethodOptions`.
#[derive(Clone, PartialEq, Message)]
struct MethodOptions {
    #[prost(int32, tag = "34")]
    idempotency_level: i32,
    #[prost(message, optional, tag = "50730")]
    wawo: Option<WawoMethodOptions>,
}

/// `wawo.MethodOptions`.
#[derive(Clone, PartialEq, Message)]
struct WawoMethodOptions {
    #[prost(uint32, optional, tag = "1")]
    id: Option<u32>,
    #[prost(bool, optional, tag = "2")]
    one_way: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    run_to_completion: Option<bool>,
    #[prost(uint32, optional, tag = "4")]
    timeout_ms: Option<u32>,
    #[prost(bool, optional, tag = "5")]
    blocking: Option<bool>,
}
