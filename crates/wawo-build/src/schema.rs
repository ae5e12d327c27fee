//! Reads the services of a schema and checks that they can be generated and served.

use std::collections::BTreeMap;

use heck::ToSnakeCase;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, ServiceDescriptor, Value};
use prost_types::method_options::IdempotencyLevel;

use wawo_protocol::{DERIVED_ID, Fingerprint, MethodId, ServiceId, Shape};

use crate::{error::Error, ids, source::Source};

/// The field number of both wawo options: `(wawo.service)` and `(wawo.method)`.
const OPTION: i32 = 50_730;

/// Field numbers of descriptor.proto, for positions.
const SERVICE_OPTIONS: i32 = 3;
const METHOD_OPTIONS: i32 = 4;

/// A service to generate, without prost's names for its types.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) full_name: String,
    pub(crate) id: u32,
    pub(crate) fingerprint: u64,
    /// The methods, by name.
    pub(crate) methods: BTreeMap<String, Method>,
    position: String,
}

#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) id: u32,
    pub(crate) shape: Shape,
    pub(crate) idempotency: IdempotencyLevel,
    pub(crate) runs_to_completion: bool,
    pub(crate) is_blocking: bool,
    /// The default timeout of the method's calls.
    pub(crate) timeout_ms: Option<u32>,
    position: String,
}

/// Collects all services of the files for which code is generated, by full name.
pub(crate) fn services(source: &Source) -> Result<BTreeMap<String, Service>, Error> {
    let mut services = BTreeMap::<String, Service>::new();
    let mut by_id = BTreeMap::<u32, (String, String)>::new();
    for descriptor in source
        .generated()
        .flat_map(|file| file.services().collect::<Vec<_>>())
    {
        let service = service(source, &descriptor)?;
        let this = (service.full_name.clone(), service.position.clone());
        if let Some((other, at)) = by_id.insert(service.id, this) {
            let problem = format!(
                "the services `{}` and `{other}` ({at}) have the same id {}",
                service.full_name,
                ids::literal(service.id)
            );
            let remedy = "set another for one of them by `option (wawo.service).id`";
            return Err(Error::schema(service.position, problem, remedy));
        }
        services.insert(service.full_name.clone(), service);
    }
    Ok(services)
}

fn service(source: &Source, descriptor: &ServiceDescriptor) -> Result<Service, Error> {
    let file = descriptor.parent_file();
    let at = |tail: &[i32]| source.position(&file, &[descriptor.path(), tail].concat());
    let options = option(&source.pool, &descriptor.options(), "wawo.service");
    let full_name = descriptor.full_name().to_owned();
    let id = match set_id(options.as_ref()) {
        None => ServiceId::of(&full_name).0,
        Some(id) => check_id(id, || at(&[SERVICE_OPTIONS, OPTION, 1]))?,
    };
    let mut methods = BTreeMap::new();
    for descriptor in descriptor.methods() {
        let method = method(source, &descriptor)?;
        if descriptor.name().to_snake_case().is_empty() {
            return Err(Error::no_name(method.position, descriptor.full_name()));
        }
        check_method(&methods, descriptor.name(), &method)?;
        methods.insert(descriptor.name().to_owned(), method);
    }
    Ok(Service {
        id,
        fingerprint: fingerprint(descriptor, &methods),
        methods,
        position: at(&[]),
        full_name,
    })
}

fn method(source: &Source, descriptor: &MethodDescriptor) -> Result<Method, Error> {
    let file = descriptor.parent_service().parent_file();
    let at = |tail: &[i32]| source.position(&file, &[descriptor.path(), tail].concat());
    let options = option(&source.pool, &descriptor.options(), "wawo.method");
    let id = match set_id(options.as_ref()) {
        None => MethodId::of(descriptor.name()).0,
        Some(id) => check_id(id, || at(&[METHOD_OPTIONS, OPTION, 1]))?,
    };
    let is_set = |name| {
        let field = options.as_ref()?.get_field_by_name(name)?;
        field.as_bool()
    };
    let one_way = is_set("one_way").unwrap_or(false);
    let runs_to_completion = is_set("run_to_completion").unwrap_or(false);
    if one_way {
        check_one_way(descriptor, || at(&[METHOD_OPTIONS, OPTION, 2]))?;
    }
    if one_way && runs_to_completion {
        let name = descriptor.full_name();
        let problem = format!("the one-way method `{name}` is set to run to completion");
        let remedy = "nobody can cancel it: it runs to its end, or to its deadline; \
                      leave out `run_to_completion`";
        let position = at(&[METHOD_OPTIONS, OPTION, 3]);
        return Err(Error::schema(position, problem, remedy));
    }
    let timeout_ms = set_number(options.as_ref(), "timeout_ms");
    if timeout_ms == Some(0) {
        let problem = format!("the timeout of `{}` is zero", descriptor.full_name());
        let remedy = "no call would be made; use `timeout_ms` from 1 to 4294967295, or leave it out \
                      and let calls that may last say so by `Call::no_timeout`";
        let position = at(&[METHOD_OPTIONS, OPTION, 4]);
        return Err(Error::schema(position, problem, remedy));
    }
    let shape = match one_way {
        true => Shape::OneWay,
        false => Shape::of_streams(
            descriptor.is_client_streaming(),
            descriptor.is_server_streaming(),
        ),
    };
    let options = &descriptor.method_descriptor_proto().options;
    let level = options.as_ref().map(|options| options.idempotency_level());
    Ok(Method {
        id,
        shape,
        idempotency: level.unwrap_or(IdempotencyLevel::IdempotencyUnknown),
        runs_to_completion,
        is_blocking: is_set("blocking").unwrap_or(false),
        timeout_ms,
        position: at(&[]),
    })
}

/// Returns a wawo option. It is missing if the schema does not import the file that declares it.
fn option(pool: &DescriptorPool, options: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    let extension = pool.get_extension_by_name(name)?;
    if !options.has_extension(&extension) {
        return None;
    }
    match options.get_extension(&extension).into_owned() {
        Value::Message(message) => Some(message),
        _ => None,
    }
}

fn set_id(options: Option<&DynamicMessage>) -> Option<u32> {
    set_number(options, "id")
}

/// Returns a number, if the schema sets it.
fn set_number(options: Option<&DynamicMessage>, name: &str) -> Option<u32> {
    let options = options.filter(|options| options.has_field_by_name(name))?;
    options.get_field_by_name(name)?.as_u32()
}

fn check_id(id: u32, position: impl Fn() -> String) -> Result<u32, Error> {
    if (1..DERIVED_ID).contains(&id) {
        return Ok(id);
    }
    let problem = format!("the id {id} is out of its range");
    let remedy = format!("use a number from 1 to {}", DERIVED_ID - 1);
    Err(Error::schema(position(), problem, remedy))
}

fn check_one_way(method: &MethodDescriptor, position: impl Fn() -> String) -> Result<(), Error> {
    let name = method.full_name();
    let (problem, remedy) = if method.is_client_streaming() || method.is_server_streaming() {
        (
            format!("the one-way method `{name}` has a stream"),
            "a one-way method sends one message; leave out `stream` or `one_way`",
        )
    } else if method.output().full_name() != "google.protobuf.Empty" {
        (
            format!(
                "the one-way method `{name}` returns `{}`",
                method.output().full_name()
            ),
            "nothing comes back from it: let it return google.protobuf.Empty",
        )
    } else {
        return Ok(());
    };
    Err(Error::schema(position(), problem, remedy))
}

/// Checks that no two methods of a service share an id or a Rust name.
fn check_method(
    methods: &BTreeMap<String, Method>,
    name: &str,
    method: &Method,
) -> Result<(), Error> {
    let rust_name = name.to_snake_case();
    for (other_name, other) in methods {
        let at = &other.position;
        let clash = if other.id == method.id {
            Some((
                format!(
                    "the methods `{name}` and `{other_name}` ({at}) have the same id {}",
                    ids::literal(method.id)
                ),
                "set another for one of them by `option (wawo.method).id`",
            ))
        } else if other_name.to_snake_case() == rust_name {
            Some((
                format!(
                    "the methods `{name}` and `{other_name}` ({at}) are both `{rust_name}` in Rust"
                ),
                "rename one of them",
            ))
        } else {
            None
        };
        if let Some((problem, remedy)) = clash {
            return Err(Error::schema(method.position.clone(), problem, remedy));
        }
    }
    Ok(())
}

fn fingerprint(service: &ServiceDescriptor, methods: &BTreeMap<String, Method>) -> u64 {
    let mut fingerprint = Fingerprint::new(service.full_name());
    for descriptor in service.methods() {
        let (name, method) = (descriptor.name(), &methods[descriptor.name()]);
        let (input, output) = (descriptor.input(), descriptor.output());
        fingerprint.add_method(
            name,
            MethodId(method.id),
            method.shape,
            input.full_name(),
            output.full_name(),
        );
    }
    fingerprint.value()
}
