//! The sources of schemas: files and descriptor sets.

use std::{fs, path::Path};

use wawo_build::Builder;

use crate::schema::Schema;

const WITH_OPTIONS: &str = r#"
syntax = "proto3";
package a;
import "google/protobuf/empty.proto";
import "wawo/options.proto";
service S {
  option (wawo.service).id = 77;
  rpc M(google.protobuf.Empty) returns (google.protobuf.Empty) { option (wawo.method).one_way = true; }
}
"#;

#[test]
fn the_options_are_supplied_and_the_copy_in_the_repository_is_the_same() {
    let code = Schema::new(WITH_OPTIONS).generate(Builder::new(), "a");
    assert!(code.contains("77") && code.contains("OneWay"), "{code}");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(here.join(file)).expect("in the repository");
    assert_eq!(
        read("proto/wawo/options.proto"),
        read("../../proto/wawo/options.proto")
    );
}

#[test]
fn a_descriptor_set_gives_the_same_code_as_its_files() {
    let schema = Schema::new(WITH_OPTIONS);
    let from_files = schema.generate(Builder::new(), "a");
    // The generated code embeds such a set, with wawo's options in it.
    let set = schema.path().join("a.fds");
    let other = tempfile::tempdir().expect("a folder");
    let builder = Builder::new().out_dir(other.path());
    builder
        .compile_descriptor_set(&set)
        .expect("a descriptor set");
    let code = fs::read_to_string(other.path().join("a.rs")).expect("generated code");
    assert_eq!(code, from_files);
    let embedded = fs::read(other.path().join("a.fds")).expect("a descriptor set");
    assert_eq!(embedded, fs::read(set).expect("a descriptor set"));
}

#[test]
fn packages_go_to_files_of_their_own_and_one_file_includes_them_all() {
    let schema = Schema::of(&[
        (
            "test.proto",
            r#"syntax = "proto3"; package top; import "deep/other.proto"; import "empty.proto";
               service S { rpc M(top.deep.Thing) returns (top.deep.Thing); }"#,
        ),
        (
            "deep/other.proto",
            r#"syntax = "proto3"; package top.deep; message Thing {}"#,
        ),
        ("empty.proto", r#"syntax = "proto3"; package nothing;"#),
    ]);
    let code = schema.generate(Builder::new().include_file("all.rs"), "top");
    assert!(code.contains("request: super::deep::Thing"), "{code}");
    assert!(schema.generated("top.deep").contains("struct Thing"));
    assert!(schema.generated("nothing").contains("FILE_DESCRIPTOR_SET"));
    let all = fs::read_to_string(schema.path().join("all.rs")).expect("the include file");
    assert!(
        all.contains("pub mod top") && all.contains("pub mod deep"),
        "{all}"
    );
}

#[test]
fn services_without_methods_and_schemas_without_packages_are_fine() {
    let schema = Schema::new(r#"syntax = "proto3"; service Nothing {} message M {}"#);
    schema.generate(Builder::new(), "_");
    // A second run removes everything that the first one wrote.
    let code = schema.generate(Builder::new(), "_");
    assert_eq!(code.matches("const FILE_DESCRIPTOR_SET").count(), 1);
    assert!(
        code.contains("trait Nothing") && code.contains("\"Nothing\""),
        "{code}"
    );
}

#[test]
fn files_are_named_after_packages_as_schemas_have_them() {
    let schema = Schema::of(&[
        (
            "test.proto",
            r#"syntax = "proto3"; package type.Match; import "self.proto";
               message M { self.r.N n = 1; }"#,
        ),
        (
            "self.proto",
            r#"syntax = "proto3"; package self.r; message N {}"#,
        ),
    ]);
    let code = schema.generate(Builder::new().include_file("all.rs"), "type.Match");
    assert!(
        code.contains("include_bytes!(\"type.Match.fds\")"),
        "{code}"
    );
    assert!(code.contains("super::super::self_::r::N"), "{code}");
    assert!(schema.generated("self.r").contains("struct N"));
    assert_eq!(
        schema.generated("all"),
        "pub mod r#type {\npub mod r#match {\ninclude!(\"type.Match.rs\");\n}\n}\n\
         pub mod self_ {\npub mod r {\ninclude!(\"self.r.rs\");\n}\n}\n"
    );
}
