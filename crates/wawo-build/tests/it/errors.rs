//! Errors of a wrong schema: file, line, column, problem and correction.

use std::{fs, path::Path};

use wawo_build::{Builder, Error};

use crate::{
    cases::Case,
    schema::{Schema, with_slashes},
};

/// Checks the error of a proto3 file that has `rest` from its third line on.
fn told(rest: &str, expected: &str) {
    let head = "syntax = \"proto3\"; package a; import \"wawo/options.proto\";\n\
                import \"google/protobuf/empty.proto\"; message M {}\n";
    assert_eq!(Schema::new(&format!("{head}{rest}")).error(), expected);
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
fn one_way_methods_that_run_to_completion() {
    told(
        "service S {\nrpc A(M) returns (google.protobuf.Empty) {\n\
         option (wawo.method).one_way = true;\n\
         option (wawo.method).run_to_completion = true;\n}\n}",
        "test.proto:6:1: the one-way method `a.S.A` is set to run to completion; nobody can cancel \
         it: it runs to its end, or to its deadline; leave out `run_to_completion`",
    );
    let off = "service S { rpc A(M) returns (google.protobuf.Empty) {\n\
               option (wawo.method) = { one_way: true run_to_completion: false }; } }";
    let head = "syntax = \"proto3\"; package a; import \"wawo/options.proto\";\n\
                import \"google/protobuf/empty.proto\"; message M {}\n";
    Schema::new(&format!("{head}{off}")).generate(Builder::new(), "a");
}

#[test]
fn timeouts_that_are_zero() {
    told(
        "service S {\nrpc A(M) returns (stream M) { option (wawo.method).timeout_ms = 0; }\n}",
        "test.proto:4:31: the timeout of `a.S.A` is zero; no call would be made; use `timeout_ms` \
         from 1 to 4294967295, or leave it out and let calls that may last say so by \
         `Call::no_timeout`",
    );
}

#[test]
fn names_of_underscores() {
    for (rest, name) in [
        ("service S {\nrpc _(M) returns (M);\n}", "a.S._"),
        ("service S {\nrpc __(M) returns (M);\n}", "a.S.__"),
        ("enum E { X = 0; }\nservice _ {}", "a._"),
        ("enum E { X = 0; }\nmessage _ {}", "a._"),
        ("message N {\nint32 _ = 1;\n}", "a.N._"),
        ("enum E {\n_ = 0;\n}", "a._"),
        (
            "message N { oneof x { int32 y = 1; }\noneof _ { int32 z = 2; } }",
            "a.N._",
        ),
    ] {
        let expected =
            format!("test.proto:4:1: nothing is left of the name `{name}` in Rust; rename it");
        told(rest, &expected);
    }
}

#[test]
fn types_and_modules_that_are_one_in_rust() {
    told(
        "enum E { X = 0; }\nmessage _2 { message N {} }",
        "test.proto:4:1: `a._2` and the module of what it holds are one in Rust; \
         begin its name with a letter",
    );
}

#[test]
fn errors_of_the_parser() {
    told(
        "service S { rpc }",
        "test.proto:3:17: expected an identifier, but found '}'",
    );
    told(
        "service S { rpc A(N) returns (M); }",
        "test.proto:3:19: name 'N' is not defined",
    );
}

#[test]
fn options_that_are_not_there() {
    told(
        "service S { option (wawo.service).idd = 3; }",
        "test.proto:3:13: option field '(wawo.service).idd' is not defined; \
         `(wawo.service)` has `uint32 id`",
    );
    told(
        "service S { rpc A(M) returns (M) { option (wawo.method) = { oneway: true }; } }",
        "test.proto:3:36: invalid value of type 'wawo.MethodOptions' for option '(wawo.method)'; \
         `(wawo.method)` has `uint32 id`, `bool one_way`, `bool run_to_completion`, \
         `uint32 timeout_ms`, `bool blocking`",
    );
    told(
        "service S { option (wawo.servce).id = 3; }",
        "test.proto:3:13: 'wawo.servce' resolves to 'wawo.servce', which is not defined; \
         add `import \"wawo/options.proto\";`, which has `(wawo.service)` and `(wawo.method)`",
    );
}

#[test]
fn imports_that_are_missing() {
    let head = "syntax = \"proto3\"; package a;\n";
    let told = |rest: &str| Schema::new(&format!("{head}{rest}")).error();
    assert_eq!(
        told("service S { option (wawo.service).id = 3; }"),
        "test.proto:2:13: name 'wawo.service' is not defined; add `import \
         \"wawo/options.proto\";`, which has `(wawo.service)` and `(wawo.method)`"
    );
    assert_eq!(
        told("message M { google.protobuf.Empty m = 1; }"),
        "test.proto:2:13: name 'google.protobuf.Empty' is not defined; \
         add `import \"google/protobuf/empty.proto\";`"
    );
    let other = "import \"google/protobuf/empty.proto\";";
    assert_eq!(
        told(&format!(
            "{other}\nmessage M {{ google.protobuf.Field.Kind m = 1; }}"
        )),
        "test.proto:3:13: 'google.protobuf.Field.Kind' resolves to 'google.protobuf.Field.Kind', \
         which is not defined; add `import \"google/protobuf/type.proto\";`"
    );
    assert_eq!(
        told("import \"missing.proto\";"),
        "test.proto:2:1: import 'missing.proto' not found; looked in the include paths `.`"
    );
}

#[test]
fn a_position_names_the_file_as_it_can_be_opened() {
    let here = Schema::of(&[
        (
            "one/test.proto",
            "syntax = \"proto3\"; import \"deep/other.proto\";",
        ),
        (
            "two/deep/other.proto",
            "syntax = \"proto3\"; message M { int32 if  1; }",
        ),
        (
            "two/ours.proto",
            "syntax = \"proto3\"; message Ab {} message AB {}",
        ),
    ]);
    let folders = ["one", "two"].map(|folder| here.path().join(folder));
    let told = |file: &str| {
        let builder = Builder::new().out_dir(here.path());
        here.told(builder.compile(&[file], &folders))
    };
    let theirs = told("test.proto");
    assert!(
        theirs.starts_with("two/deep/other.proto:1:42: expected '='"),
        "{theirs}"
    );
    let ours = told("ours.proto");
    assert!(ours.starts_with("two/ours.proto:1:34: "), "{ours}");
    assert!(ours.contains(" (two/ours.proto:1:20) "), "{ours}");
}

#[test]
fn errors_whose_position_the_parser_does_not_know() {
    assert_eq!(
        Schema::new("message M {}\n/* open\n").error(),
        "test.proto:2:8: expected comment terminator, but reached end of file; \
         close the comment by `*/`"
    );
    let bytes = &b"message M {}\n// \xff"[..];
    assert_eq!(
        Schema::of(&[("test.proto", bytes)]).error(),
        "test.proto:2:4: file 'test.proto' is not valid utf-8"
    );
    let cycle = Schema::of(&[
        ("test.proto", "import \"b.proto\";"),
        ("b.proto", "import \"c.proto\";"),
        ("c.proto", "\n  import \"b.proto\";"),
    ]);
    assert_eq!(
        cycle.error(),
        "c.proto:2:3: import cycle detected: test.proto -> b.proto -> c.proto -> b.proto"
    );
    let twice = Schema::new("package a; package b;").error();
    assert_eq!(twice, "test.proto: multiple package names specified");
}

#[test]
fn names_that_are_one_in_rust() {
    for (rest, second, first, rust_name) in [
        (
            "service Foo {}\nservice FOO {}",
            "4:1: `a.FOO`",
            "`a.Foo` (test.proto:3:1)",
            "Foo",
        ),
        (
            "message XMLDoc {}\nmessage XmlDoc {}",
            "4:1: `a.XmlDoc`",
            "`a.XMLDoc` (test.proto:3:1)",
            "XmlDoc",
        ),
        (
            "message N {\nenum E { X = 0; }\nmessage e {}\n}",
            "4:1: `a.N.E`",
            "`a.N.e` (test.proto:5:1)",
            "E",
        ),
        (
            "message N {\nint32 a_bc = 1;\noneof aBc { int32 d = 2; }\n}",
            "5:1: `a.N.aBc`",
            "`a.N.a_bc` (test.proto:4:1)",
            "a_bc",
        ),
    ] {
        let expected = format!(
            "test.proto:{second} and {first} are both `{rust_name}` in Rust; rename one of them"
        );
        told(rest, &expected);
    }
    // The JSON names of these fields differ, so protox accepts them.
    let fields = "message M {\noptional int32 a_bc = 1;\noptional int32 aBC = 2;\n}";
    assert_eq!(
        Schema::new(fields).error(),
        "test.proto:3:1: `M.aBC` and `M.a_bc` (test.proto:2:1) are both `a_bc` in Rust; \
         rename one of them"
    );
}

#[test]
fn names_that_only_look_like_one() {
    let text = "syntax = \"proto3\"; package a;
        message FooServer { optional int32 x = 3; }
        message Owner {} message N { message Owner {} oneof owner { Owner o = 1; } map<int32, N> owners = 2; }
        message XMLDoc {} message XmlDoc {} service Foo {}";
    let builder = Builder::new().extern_path(".a.XMLDoc", "crate::XMLDoc");
    let code = Schema::new(text).generate(builder, "a");
    assert_eq!(code.matches("pub struct XmlDoc").count(), 1, "{code}");
}

#[test]
fn packages_that_are_one_module() {
    let schema = Schema::of(&[
        ("test.proto", "import \"other.proto\";\npackage A.b;"),
        ("other.proto", "package a.B;"),
    ]);
    assert_eq!(
        schema.error(),
        "test.proto:2:1: the packages `A.b` and `a.B` (other.proto:1:1) are both `a::b` in Rust; \
         rename one of them"
    );
}

#[test]
fn packages_with_the_name_of_another_file() {
    let told = |package: &str, include_file: &str| {
        let schema = Schema::new(&format!("package {package}; message M {{}}"));
        let builder = Builder::new().out_dir(schema.path());
        let builder = builder.include_file(include_file);
        schema.told(builder.compile(&["test.proto"], &[schema.path()]))
    };
    assert_eq!(
        told("all", "all.rs"),
        "the include file and the package `all` would both be `all.rs`; rename one of them"
    );
    // Some file systems do not tell these names apart.
    assert_eq!(
        told("All", "all.rs"),
        "the include file and the package `All` would both be `all.rs`; rename one of them"
    );
    assert_eq!(
        told("wawo_build_packages", "all.rs"),
        "the package `wawo_build_packages` and a file of wawo_build would both be \
         `wawo_build_packages.rs`; rename one of them"
    );
    let case = Case::new("refused/package-named-like-include-file");
    let folder = tempfile::tempdir().expect("a folder");
    for result in [
        case.compile_source(folder.path()),
        case.compile_as_set(folder.path()),
    ] {
        let error = result.expect_err("a package `all`").to_string();
        assert!(
            error.starts_with("the include file and the package `all`"),
            "{error}"
        );
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn panics_of_prost_are_errors() {
    told(
        "enum E { A_B = 0; AB_ = 1; a_b = 2; }",
        "test.proto:3:28: `a.E`: Generated enum variant names overlap: `AB` variant name to be used \
         both by `A_B` and `a_b` ProtoBuf enum values; rename one of them, or keep the prefixes of \
         values by `Builder::prost` and `retain_enum_prefix`",
    );
    let here = Schema::new("syntax = \"proto3\"; message M {}");
    let builder = Builder::new()
        .type_attribute(".", "#[")
        .out_dir(here.path());
    let error = here.told(builder.compile(&["test.proto"], &[here.path()]));
    assert!(
        error.starts_with("prost-build cannot generate the code: "),
        "{error}"
    );
}

#[test]
fn files_that_are_not_there() {
    let here = Schema::of(&[("in/test.proto", ""), ("out/other.proto", "")]);
    let includes = [here.path().join("in")];
    let told = |file: &Path| {
        let builder = Builder::new().out_dir(here.path());
        here.told(builder.compile(&[file], &includes))
    };
    let current = std::env::current_dir().expect("a current folder");
    assert_eq!(
        told("in/nofile.proto".as_ref()),
        format!(
            "the file `in/nofile.proto` does not exist, neither in the current folder `{}` \
             nor in the include paths `in`",
            with_slashes(&current.display().to_string())
        )
    );
    assert_eq!(
        told(&here.path().join("out/other.proto")),
        "the file `out/other.proto` is below none of the include paths `in`; add its folder to \
         them, and write both as relative or both as absolute paths"
    );
    let error = here.told(Builder::new().compile(&["a.proto"], &["no/such/folder"]));
    assert_eq!(error, "the include path `no/such/folder` is not a folder");
}

#[test]
fn nothing_to_compile() {
    let none: &[&str] = &[];
    let error = wawo_build::compile(none, &["no/such/folder"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is nothing to compile: no `.proto` file is given"
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
fn a_descriptor_set_with_two_different_files_of_one_name() {
    let set = |text: &str| {
        let schema = Schema::new(text);
        schema.generate(Builder::new(), "a");
        fs::read(schema.path().join("a.fds")).expect("a descriptor set")
    };
    let first = set(r#"syntax = "proto3"; package a; message M {}"#);
    let second = set(r#"syntax = "proto3"; package a; message N {}"#);
    let here = Schema::of(&[("differ.fds", [first, second].concat())]);
    let builder = Builder::new().out_dir(here.path());
    assert_eq!(
        here.told(builder.compile_descriptor_set(here.path().join("differ.fds"))),
        "the descriptor set cannot be read: a different file named 'test.proto' has already been \
         added"
    );
}

#[test]
fn nowhere_to_write() {
    let here = Schema::new("syntax = \"proto3\"; message M {}");
    let error = Builder::new()
        .compile(&["test.proto"], &[here.path()])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "OUT_DIR is not set: call this from a build script, or set a folder by `out_dir`"
    );
}

/// An error with a cause, neither of which mentions the other.
#[derive(Debug)]
struct Outer(std::fmt::Error);

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the disk is gone")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn an_error_ends_with_its_cause_and_its_source_is_what_caused_that() {
    let cause = || Outer(std::fmt::Error);
    for error in [
        Error::DescriptorSet(Box::new(cause())),
        Error::Write {
            file: "a.rs".into(),
            error: std::io::Error::other(cause()),
        },
    ] {
        let text = error.to_string();
        assert!(text.ends_with(": the disk is gone"), "{text}");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), std::fmt::Error.to_string());
    }
    assert!(std::error::Error::source(&Error::OutDir).is_none());
}

/// Imports are written with slashes, on Windows too.
#[test]
fn the_path_of_a_file_has_one_kind_of_separator() {
    let file = "deep/er/test.proto";
    let here = Schema::of(&[(file, "syntax = \"proto3\"; message M { Nothing n = 1; }")]);
    let builder = Builder::new().out_dir(here.path());
    let error = builder.compile(&[file], &[here.path()]).unwrap_err();
    let path = here.path().join("deep").join("er").join("test.proto");
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("{}:1:", path.display())),
        "{text}"
    );
}
