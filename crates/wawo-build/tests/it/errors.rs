//! A wrong schema is told by file, line and column, what is wrong, and what would be right.

use std::path::Path;

use wawo_build::Builder;

use crate::schema::Schema;

/// A proto3 file with `rest` from its third line on.
fn told(rest: &str, expected: &str) {
    let head = "syntax = \"proto3\"; package a; import \"wawo/options.proto\";\n\
                import \"google/protobuf/empty.proto\"; message M {}\n";
    let error = Schema::new(&format!("{head}{rest}")).error();
    assert_eq!(error.to_string(), expected);
    assert_eq!(
        format!("{error:?}"),
        expected,
        "a build script prints `Debug`"
    );
}

#[test]
fn ids_out_of_range() {
    told(
        "service S {\n  option (wawo.service).id = 0;\n}",
        "test.proto:4:3: the id 0 is out of its range; use a number from 1 to 2147483647",
    );
    told(
        "service S {\n  option (wawo.service).id = 2147483648;\n}",
        "test.proto:4:3: the id 2147483648 is out of its range; use a number from 1 to 2147483647",
    );
    told(
        "service S {\n  rpc A(M) returns (M) { option (wawo.method).id = 4294967295; }\n}",
        "test.proto:4:26: the id 4294967295 is out of its range; use a number from 1 to 2147483647",
    );
}

#[test]
fn ids_that_collide() {
    told(
        "service S { option (wawo.service).id = 9; }\nservice T { option (wawo.service).id = 9; }",
        "test.proto:4:1: the services `a.T` and `a.S` (test.proto:3:1) have the same id 9; \
         set another for one of them by `option (wawo.service).id`",
    );
    told(
        "service S {\n\
         rpc A(M) returns (M) { option (wawo.method).id = 9; }\n\
         rpc B(M) returns (M) { option (wawo.method).id = 9; }\n}",
        "test.proto:5:1: the methods `B` and `A` (test.proto:4:1) have the same id 9; \
         set another for one of them by `option (wawo.method).id`",
    );
}

#[test]
fn hashes_that_collide() {
    told(
        "service S {\n\
         rpc ListFastPlaceMove(M) returns (M);\n\
         rpc ListFreePollDeck(M) returns (M);\n}",
        "test.proto:5:1: the methods `ListFreePollDeck` and `ListFastPlaceMove` (test.proto:4:1) \
         have the same id 0x88a9ea4f; set another for one of them by `option (wawo.method).id`",
    );
}

#[test]
fn method_names_that_are_one_in_rust() {
    told(
        "service S {\nrpc GetAll(M) returns (M);\nrpc get_all(M) returns (M);\n}",
        "test.proto:5:1: the methods `get_all` and `GetAll` (test.proto:4:1) are both `get_all` \
         in Rust; rename one of them",
    );
}

#[test]
fn one_way_methods_that_answer() {
    told(
        "service S {\nrpc A(M) returns (M) { option (wawo.method).one_way = true; }\n}",
        "test.proto:4:24: the one-way method `a.S.A` returns `a.M`; \
         nothing comes back from it: let it return google.protobuf.Empty",
    );
    told(
        "service S {\nrpc A(stream M) returns (google.protobuf.Empty) { option (wawo.method).one_way = true; }\n}",
        "test.proto:4:51: the one-way method `a.S.A` has a stream; \
         a one-way method sends one message; leave out `stream` or `one_way`",
    );
}

#[test]
fn what_the_parser_finds() {
    told(
        "service S { rpc }",
        "test.proto:3:17: expected an identifier, but found '}'",
    );
    told(
        "service S { rpc A(N) returns (M); }",
        "test.proto:3:19: name 'N' is not defined",
    );
    told(
        "service S { option (wawo.service).idd = 3; }",
        "test.proto:3:13: option field '(wawo.service).idd' is not defined",
    );
}

#[test]
fn files_that_are_not_there() {
    let error = Schema::new("import \"missing.proto\";").error().to_string();
    assert_eq!(error, "test.proto:1:1: import 'missing.proto' not found");

    let here = Schema::new("");
    let builder = Builder::new().out_dir(here.path());
    let error = builder
        .compile(&["other.proto"], &[here.path()])
        .unwrap_err();
    assert!(error.to_string().contains("other.proto"), "{error}");

    let error = Builder::new()
        .compile(&["a.proto"], &["no/such/folder"])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the include path `no/such/folder` is not a folder"
    );
}

#[test]
fn descriptor_sets_that_are_none() {
    let here = Schema::of(&[("bad.fds", "not a descriptor set")]);
    let told = |file: &Path| {
        let builder = Builder::new().out_dir(here.path());
        let error = builder.compile_descriptor_set(file).unwrap_err();
        error.to_string()
    };
    let missing = told(&here.path().join("missing.fds"));
    assert!(
        missing.starts_with("the descriptor set cannot be read: ")
            && missing.contains("missing.fds"),
        "{missing}"
    );
    let bad = told(&here.path().join("bad.fds"));
    assert!(
        bad.starts_with("the descriptor set cannot be read: "),
        "{bad}"
    );
}

#[test]
fn nowhere_to_write() {
    let here = Schema::new("");
    let error = Builder::new()
        .compile(&["test.proto"], &[here.path()])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "OUT_DIR is not set: call this from a build script, or set a folder by `out_dir`"
    );
}
