//! The files that a call writes: where they may be, and a call without any.

use std::{fs, slice};

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use wawo_build::Builder;

use crate::{
    cases::{compile_set, files, name_of},
    schema::Schema,
};

const NOTHING: &str = "there is nothing to compile: no file declares a message, an enum, a service or \
                       an extension (those of `google.protobuf` and `wawo/options.proto` do not count)";

fn empty_file(package: &str) -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some("empty.proto".to_owned()),
        package: Some(package.to_owned()),
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    }
}

#[test]
fn an_include_file_is_beside_the_files_that_it_includes() {
    for name in [
        "inc/all.rs",
        "../escaped.rs",
        "/all.rs",
        "inc\\all.rs",
        "all.rs/",
        "",
        ".",
        "..",
    ] {
        let here = Schema::of(&[(
            "in/test.proto",
            "syntax = \"proto3\"; package a; message M {}",
        )]);
        let out = here.path().join("in");
        fs::create_dir(out.join("inc")).expect("a folder");
        let builder = Builder::new().out_dir(&out).include_file(name);
        let result = builder.compile(&["test.proto"], &[&out]);
        assert_eq!(
            result.expect_err("no file name").to_string(),
            format!(
                "the include file `{name}` is not a file name: the file is written to the output \
                 folder, beside the files that it includes; use a name such as `protos.rs`, and set \
                 the folder by `out_dir`"
            )
        );
        assert_eq!(files(here.path()), slice::from_ref(&out));
        assert_eq!(files(&out).len(), 2);
    }
}

#[test]
fn a_set_without_anything_to_generate_is_an_error_and_changes_no_file() {
    let set = |files: &[FileDescriptorProto]| {
        let file = files.to_vec();
        FileDescriptorSet { file }.encode_to_vec()
    };
    let well_known = prost_reflect::DescriptorPool::global();
    let well_known = well_known.get_file_by_name("google/protobuf/empty.proto");
    let well_known = well_known.expect("a file of prost-types");
    for set in [
        Vec::new(),
        set(&[FileDescriptorProto::default()]),
        set(&[empty_file("a")]),
        set(&[well_known.file_descriptor_proto().clone()]),
    ] {
        let here = Schema::new("syntax = \"proto3\"; package a; message M {}");
        let code = here.generate(Builder::new(), "a");
        let error = compile_set(Builder::new().out_dir(here.path()), &set);
        assert_eq!(here.told(error), NOTHING);
        assert_eq!(here.generated("a"), code);
        let names = files(here.path())
            .iter()
            .map(|file| name_of(file))
            .collect::<Vec<_>>();
        assert_eq!(names, ["a.fds", "a.rs", "test.proto"]);
    }
}

#[test]
fn a_schema_without_anything_to_generate_is_an_error() {
    for text in ["", "syntax = \"proto3\"; package a;"] {
        assert_eq!(Schema::new(text).error(), NOTHING);
    }
}

#[test]
fn files_with_nothing_but_an_extension_or_an_import_are_compiled() {
    let extension = "syntax = \"proto3\"; package a; import \"google/protobuf/descriptor.proto\";
                     extend google.protobuf.FileOptions { string owner = 50000; }";
    Schema::new(extension).generate(Builder::new(), "a");
    let here = Schema::of(&[
        (
            "test.proto",
            "syntax = \"proto3\"; package a; import public \"b.proto\";",
        ),
        ("b.proto", "syntax = \"proto3\"; package b; message M {}"),
    ]);
    here.generate(Builder::new(), "a");
    assert!(here.generated("b").contains("struct M"));
}

#[test]
fn the_messages_of_google_protobuf_are_compiled_on_request() {
    let here = Schema::new("syntax = \"proto3\"; package google.protobuf; message Empty {}");
    let builder = Builder::new().prost(|prost| _ = prost.compile_well_known_types());
    assert!(
        here.generate(builder, "google.protobuf")
            .contains("struct Empty")
    );
}
