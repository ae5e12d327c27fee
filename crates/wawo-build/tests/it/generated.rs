//! The generated code, as users see it.

use std::fs;

use wawo_build::Builder;

use crate::{cases::Case, schema::Schema};

/// One method of each shape, comments, options.
const CHAT: &str = r#"
syntax = "proto3";
package chat.v1;

import "google/protobuf/empty.proto";
import "wawo/options.proto";

// Rooms where people talk.
service Chat {
  option (wawo.service).id = 100;

  // Enters a room.
  rpc Join(JoinRequest) returns (JoinReply);
  // The lines, oldest first.
  rpc History(JoinRequest) returns (stream Line) { option idempotency_level = NO_SIDE_EFFECTS; }
  // Says many things.
  rpc Upload(stream Line) returns (JoinReply);
  // Talks and listens.
  rpc Talk(stream Line) returns (stream Line);
  // Tells others that one is about to say something.
  rpc Typing(Line) returns (google.protobuf.Empty) { option (wawo.method) = { id: 5 one_way: true }; }
}

message JoinRequest { string room = 1; }
message JoinReply { uint32 members = 1; }
message Line { bytes text = 1; }
"#;

#[test]
fn a_service_is_a_trait_a_table_a_server_and_a_client() {
    insta::assert_snapshot!(Schema::new(CHAT).generate(Builder::new(), "chat.v1"));
}

#[test]
fn a_half_has_no_trace_of_the_other() {
    let client = Schema::new(CHAT).generate(Builder::new().client_only(), "chat.v1");
    assert!(client.contains("struct ChatClient") && client.contains("SERVICE"));
    assert!(!client.contains("trait Chat") && !client.contains("ChatServer"));
    let server = Schema::new(CHAT).generate(Builder::new().server_only(), "chat.v1");
    assert!(server.contains("trait Chat") && server.contains("struct ChatServer"));
    assert!(!server.contains("ChatClient"));
}

#[test]
fn settings_reach_the_generated_code() {
    let builder = Builder::new()
        .crate_path("crate::rpc")
        .extern_path(".chat.v1.JoinRequest", "crate::Join")
        .type_attribute("chat.v1.Line", "#[derive(PartialOrd)]")
        .field_attribute("chat.v1.Line.text", "#[doc(alias = \"words\")]")
        .prost(|config| {
            config.type_attribute("chat.v1.JoinReply", "#[derive(Ord)]");
        });
    let code = Schema::new(CHAT).generate(builder, "chat.v1");
    for part in [
        "use crate::rpc::codegen;",
        "prost_path = \"crate::rpc::codegen::prost\"",
        "request: crate::Join,",
        "#[derive(PartialOrd)]",
        "#[doc(alias = \"words\")]",
        "#[derive(Ord)]",
    ] {
        assert!(code.contains(part), "no `{part}` in\n{code}");
    }
    assert!(!code.contains("struct JoinRequest") && !code.contains("::wawo"));
}

#[test]
fn ids_that_are_not_set_are_hashes_as_the_protocol_has_them() {
    let code = Schema::new(CHAT).generate(Builder::new(), "chat.v1");
    // The example of docs/protocol.md.
    assert!(code.contains("0xb0025399 =>"), "{code}");
    assert_eq!(wawo_protocol::MethodId::of("Join").0, 0xb002_5399);
    assert_eq!(wawo_protocol::ServiceId::of("chat.v1.Chat").0, 0xa927_46d6);
}

/// Generates code for two schemas that differ in an option; returns both without white space.
fn with_and_without(option: &str) -> [String; 2] {
    ["", option].map(|option| {
        let text = format!(
            "syntax = \"proto3\"; package a; import \"wawo/options.proto\"; message M {{}}
             service S {{ rpc A(M) returns (M) {{ {option} }} rpc B(M) returns (M); }}"
        );
        let code = Schema::new(&text).generate(Builder::new(), "a");
        code.split_whitespace().collect()
    })
}

#[test]
fn running_to_completion_is_a_flag_in_the_table_and_nothing_else() {
    let [without, with] = with_and_without("option (wawo.method).run_to_completion = true;");
    assert_eq!(with.matches(".run_to_completion()").count(), 1, "{with}");
    assert!(with.contains("Idempotency::Unknown,).run_to_completion();///`a.S/B`"));
    assert_eq!(with.replace(".run_to_completion()", ""), without);
    let [without, with] = with_and_without("option (wawo.method).run_to_completion = false;");
    assert_eq!(with, without);
}

#[test]
fn blocking_is_a_flag_in_the_table_and_nothing_else() {
    let [without, with] = with_and_without("option (wawo.method).blocking = true;");
    assert_eq!(with.matches(".run_blocking();").count(), 1, "{with}");
    assert_eq!(with.replace(".run_blocking()", ""), without);
}

#[test]
fn a_timeout_stands_in_the_table_and_nowhere_else() {
    let [without, with] = with_and_without("option (wawo.method).timeout_ms = 250;");
    assert!(with.contains("Idempotency::Unknown,).timeout_ms(250);///`a.S/B`"));
    assert_eq!(with.replace(".timeout_ms(250)", ""), without);
    let [_, most] = with_and_without("option (wawo.method).timeout_ms = 4294967295;");
    assert!(most.contains(".timeout_ms(4294967295)"), "{most}");
}

#[test]
fn paths_without_a_leading_colon_begin_with_a_crate() {
    let schema = Schema::of(&[
        (
            "test.proto",
            r#"
syntax = "proto3"; package a;
import "google/protobuf/timestamp.proto"; import "other.proto";
service S {
  rpc WellKnown(google.protobuf.Timestamp) returns (google.protobuf.Timestamp);
  rpc Package(b.N) returns (b.N);
  rpc Type(b.Moved) returns (b.Moved);
}
message M { google.protobuf.Timestamp time = 1; b.N n = 2; b.Moved moved = 3; }
"#,
        ),
        (
            "other.proto",
            "syntax = \"proto3\"; package b; message N {} message Moved {}",
        ),
    ]);
    let builder = Builder::new()
        .crate_path("wawo")
        .extern_path(".b", "other_types")
        .extern_path(".b.Moved", "moved_types::Moved");
    let code = schema.generate(builder, "a");
    for part in [
        "use ::wawo::codegen;",
        "prost_path = \"::wawo::codegen::prost\"",
        "request: ::wawo::codegen::prost_types::Timestamp,",
        "time: ::core::option::Option<::wawo::codegen::prost_types::Timestamp>",
        "request: ::other_types::N,",
        "n: ::core::option::Option<::other_types::N>",
        "request: ::moved_types::Moved,",
        "moved: ::core::option::Option<::moved_types::Moved>",
    ] {
        assert!(code.contains(part), "no `{part}` in\n{code}");
    }
}

#[test]
fn the_parameter_of_a_server_is_not_called_like_its_trait() {
    let schema = Schema::new("syntax = \"proto3\"; package a; service T {} service U {}");
    let code = schema.generate(Builder::new(), "a");
    assert!(code.contains("impl<U: T> TServer<U>"), "{code}");
    assert!(code.contains("impl<T: U> UServer<T>"), "{code}");
}

#[test]
fn code_in_comments_is_no_test() {
    let code = Schema::new(
        r#"
syntax = "proto3";
package a;

// Of a service:
//
//     let x;
service S {
  // ```
  // let x;
  // ```
  rpc M(N) returns (N);
}

// ```rust
// let x;
// ```
message N {
  // Of a field:
  //
  //     let x;
  int32 n = 1;
}
"#,
    )
    .generate(Builder::new(), "a");
    let fences = |end: &str| {
        let lines = code.lines().map(str::trim);
        lines
            .filter(|line| *line == format!("/// ```{end}"))
            .count()
    };
    // The docs of the method are on the trait and on the stub.
    assert_eq!((fences("text"), fences("")), (5, 5), "{code}");
}

#[test]
fn layouts_name_no_type_that_prost_types_does_not_have() {
    let code = Schema::new(
        r#"
syntax = "proto3";
package a;

import "google/protobuf/descriptor.proto";

service S {
  rpc M(N) returns (N);
}

message N {
  google.protobuf.FileDescriptorSet files = 1;
}
"#,
    )
    .generate(Builder::new(), "a");
    assert!(code.contains("prost_types::FieldOptions"), "{code}");
    for newer in [
        "FeatureSet",
        "EditionDefault",
        "FeatureSupport",
        "Declaration,",
    ] {
        assert!(!code.contains(newer), "{newer}: {code}");
    }
}

#[test]
fn the_module_of_a_service_is_not_that_of_a_message_in_the_module_of_the_package() {
    let folder = tempfile::tempdir().expect("a folder");
    let case = Case::new("builds/nested-message-and-service");
    case.compile_source(folder.path()).expect("a schema");
    let read = |file: &str| fs::read_to_string(folder.path().join(file)).expect("code");
    assert!(read("m.rs").contains("pub mod foo_service {"));
    let code = read("m.cart.rs");
    assert!(code.contains("pub mod foo_service_ {"), "{code}");
}
