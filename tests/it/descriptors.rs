//! Descriptors of services that were made at run time, beside those of generated code.

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use wawo::{
    DescriptorError, Idempotency, MethodDescriptor, MethodId, ServiceDescriptor, ServiceId, Shape,
};
use wawo_test_protos::tests::{blocking, completion, times};

use crate::support::echo;

#[test]
fn a_descriptor_set_gives_the_services_that_the_generator_gives() {
    for set in [
        echo::FILE_DESCRIPTOR_SET,
        completion::FILE_DESCRIPTOR_SET,
        times::FILE_DESCRIPTOR_SET,
        blocking::FILE_DESCRIPTOR_SET,
    ] {
        let services = ServiceDescriptor::all_in(set).unwrap();
        assert!(!services.is_empty());
        for service in services {
            let generated = GENERATED.iter().find(|other| other.id() == service.id());
            assert_eq!(*generated.expect("it is in the list"), &service);
        }
    }
}

/// All services of those sets.
static GENERATED: [&ServiceDescriptor; 4] = [
    &echo::echo_service::SERVICE,
    &completion::ledger_service::SERVICE,
    &times::times_service::SERVICE,
    &blocking::disk_service::SERVICE,
];

#[test]
fn a_generated_service_leads_to_the_one_copy_of_its_files() {
    let files = echo::echo_service::SERVICE.file_descriptor_set().unwrap();
    assert_eq!(files.as_ptr(), echo::FILE_DESCRIPTOR_SET.as_ptr());
    let set = FileDescriptorSet::decode(files).unwrap();
    let names: Vec<_> = set.file.iter().map(FileDescriptorProto::name).collect();
    assert!(names.contains(&"tests/echo.proto"), "{names:?}");
    let read = ServiceDescriptor::all_in(files).unwrap();
    assert_eq!(read[0].file_descriptor_set(), Some(files));
}

#[test]
fn methods_are_found_by_name_and_by_id_with_their_types() {
    let service = &echo::echo_service::SERVICE;
    let repeat = service.method_by_name("Repeat").unwrap();
    assert_eq!(service.method(repeat.id()), Some(repeat));
    assert_eq!(repeat.input(), "tests.echo.RepeatRequest");
    assert_eq!(repeat.output(), "tests.echo.Message");
    assert_eq!(repeat.service_name(), "tests.echo.Echo");
    assert_eq!(service.method_by_name("repeat"), None);
    assert_eq!(service.methods().len(), 6);
}

#[test]
fn ids_and_the_fingerprint_follow_from_names_as_in_generated_code() {
    let say = || MethodDescriptor::builder("Say", Shape::Unary);
    let builder = || ServiceDescriptor::builder("chat.v1.Chat");
    let service = builder().method(say()).build().unwrap();
    assert_eq!(service.id(), ServiceId(0xa927_46d6));
    let method = service.method_by_name("Say").unwrap();
    assert_eq!(method.id(), MethodId::of("Say"));
    assert_eq!(method.path(), "chat.v1.Chat/Say");
    assert_eq!(method.idempotency(), Idempotency::Unknown);
    assert_eq!(service.file_descriptor_set(), None);
    let typed = builder().method(say().types("a.In", "a.Out"));
    assert_ne!(typed.build().unwrap().fingerprint(), service.fingerprint());
}

#[test]
fn a_service_that_contradicts_itself_is_refused_with_what_is_wrong() {
    let method = |name: &str| MethodDescriptor::builder(name, Shape::Unary);
    let service = || ServiceDescriptor::builder("a.A");
    let one_way = MethodDescriptor::builder("B", Shape::OneWay);
    for (service, text) in [
        (ServiceDescriptor::builder(""), "`` is no name"),
        (ServiceDescriptor::builder("a/A"), "`a/A` is no name"),
        (service().method(method("")), "`` is no name"),
        (
            service().method(method("B")).method(method("B")),
            "`a.A/B` stands there twice",
        ),
        (
            service()
                .method(method("B").id(MethodId(3)))
                .method(method("C").id(MethodId(3))),
            "the methods `a.A/B` and `a.A/C` have the same id 3",
        ),
        (
            service().method(method("B").timeout(std::time::Duration::from_micros(999))),
            "the timeout of `a.A/B` is below 1 ms",
        ),
        (
            service().method(one_way.run_to_completion()),
            "the one-way method `a.A/B` is set to run to completion",
        ),
    ] {
        let error = service.build().unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

/// An encoded file `a.proto` with a service `a.A` whose one method is `B`.
fn file(options: &[u8]) -> Vec<u8> {
    let mut method = field(1, b"B");
    method.extend(field(2, b".a.In"));
    method.extend(field(3, b".a.Out"));
    method.extend(field(4, options));
    let mut service = field(1, b"A");
    service.extend(field(2, &method));
    let mut file = field(1, b"a.proto");
    file.extend(field(2, b"a"));
    file.extend(field(6, &service));
    field(1, &file)
}

/// A field of protobuf with bytes.
fn field(tag: u32, bytes: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    prost::encoding::bytes::encode(tag, &bytes.to_vec(), &mut field);
    field
}

/// Options of a method with one number of `(wawo.method)`.
fn option(tag: u32, value: u32) -> Vec<u8> {
    let mut options = Vec::new();
    prost::encoding::uint32::encode(tag, &value, &mut options);
    field(50_730, &options)
}

#[test]
fn options_of_a_set_are_read_and_checked() {
    let [service] = &ServiceDescriptor::all_in(&file(&option(1, 5))).unwrap()[..] else {
        panic!("it has one service");
    };
    let method = service.method_by_name("B").unwrap();
    assert_eq!((method.id(), method.input()), (MethodId(5), "a.In"));
    for (options, text) in [
        (option(1, 0), "`a.A/B` sets the id 0"),
        (option(1, 1 << 31), "`a.A/B` sets the id 2147483648"),
        (
            option(2, 1),
            "the one-way method `a.A/B` has a stream or a reply",
        ),
        (option(4, 0), "the timeout of `a.A/B` is below 1 ms"),
    ] {
        let error = ServiceDescriptor::all_in(&file(&options))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

#[test]
fn two_files_of_one_name_are_one_if_they_are_equal_and_an_error_if_not() {
    let twice = [file(&[]), file(&[])].concat();
    assert_eq!(ServiceDescriptor::all_in(&twice).unwrap().len(), 1);
    let differ = [file(&[]), file(&option(1, 5))].concat();
    let error = ServiceDescriptor::all_in(&differ).unwrap_err();
    assert_eq!(error, DescriptorError::FileDiffers("a.proto".to_owned()));
}

#[test]
fn bytes_that_are_no_set_are_an_error_wherever_they_end() {
    let whole = file(&option(1, 5));
    for length in 1..whole.len() {
        let error = ServiceDescriptor::all_in(&whole[..length]).unwrap_err();
        assert!(matches!(error, DescriptorError::Unreadable(_)), "{error}");
    }
    assert!(ServiceDescriptor::all_in(&[]).unwrap().is_empty());
}
