//! Errors whose cause is not where the parser or the linker fails.

use wawo_build::Builder;

use crate::{cases::Case, schema::Schema};

/// The error of a whole schema, with a syntax line of its own or none.
fn error_of(text: &str) -> String {
    Schema::new(text).error()
}

#[test]
fn a_file_without_a_syntax_line_is_proto2() {
    let label = "fields must have a label with proto2 syntax (expected one of 'optional', 'repeated' \
                 or 'required')";
    assert_eq!(
        error_of("// A comment.\nmessage M { string a = 1; }"),
        format!(
            "test.proto:2:13: {label}; the file has no syntax line, so it is proto2; begin it with \
             `syntax = \"proto3\";`, or give each field a label"
        )
    );
    assert_eq!(
        error_of("syntax = \"proto2\";\nmessage M { string a = 1; }"),
        format!("test.proto:2:13: {label}")
    );
}

#[test]
fn editions_and_unknown_syntaxes_are_an_error() {
    let expected = "the file uses editions, which neither protox nor prost supports; begin it with \
                    `syntax = \"proto3\";` in place of `edition`, leave out options of `features`, \
                    and write `optional` where it matters whether a field is set";
    for edition in ["2023", "2024"] {
        let text = format!("/* An edition. */\nedition = \"{edition}\"; message M {{}}");
        assert_eq!(error_of(&text), format!("test.proto:2:1: {expected}"));
    }
    let case = Case::new("refused/editions");
    let folder = tempfile::tempdir().expect("a folder");
    let error = case.compile_source(folder.path()).expect_err("an edition");
    assert!(error.to_string().ends_with(expected), "{error}");
    assert_eq!(
        error_of("\nsyntax = \"proto4\";"),
        "test.proto:2:10: unknown syntax 'proto4'; it can be `proto2` or `proto3`"
    );
}

#[test]
fn fields_that_are_one_in_json_are_an_error() {
    let names =
        "\nmessage N { message M {\noptional string foo_bar = 1;\noptional string fooBar = 2; } }";
    for syntax in ["proto2", "proto3"] {
        assert_eq!(
            error_of(&format!("syntax = \"{syntax}\";{names}")),
            "test.proto:4:1: the fields `fooBar` and `foo_bar` (test.proto:3:1) of `M` are both \
             `fooBar` in JSON; rename one of them"
        );
    }
    assert_eq!(
        error_of(
            "syntax = \"proto3\"; message M {\nstring foo = 1;\nstring b = 2 [json_name = \"foo\"]; }"
        ),
        "test.proto:3:1: the fields `b` and `foo` (test.proto:2:1) of `M` are both `foo` in JSON; \
         rename one of them"
    );
}

#[test]
fn a_file_that_is_read_under_two_names_is_an_error() {
    let here = Schema::of(&[
        (
            "test.proto",
            "import \"sub/b.proto\"; import \"b.proto\"; message A { optional B b = 1; }",
        ),
        ("sub/b.proto", "message B {}"),
    ]);
    let includes = [here.path().to_owned(), here.path().join("sub")];
    let builder = Builder::new().out_dir(here.path());
    assert_eq!(
        here.told(builder.compile(&["test.proto"], &includes)),
        "sub/b.proto: the file is read under two names, `sub/b.proto` and `b.proto`; give and import \
         it by one name, and leave out one of the include paths `.`, `sub`"
    );
}

#[test]
fn a_file_that_is_read_in_the_place_of_another_is_an_error() {
    // The import makes the linker forget the path of the file that it has read.
    let with_import = "import \"three.proto\"; message A { optional C c = 1; }";
    let here = Schema::of(&[
        ("one/a.proto", with_import),
        ("two/a.proto", "message B {}"),
        ("one/three.proto", "import public \"four.proto\";"),
        ("one/four.proto", "import public \"five.proto\";"),
        ("one/five.proto", "message C {}"),
    ]);
    let includes = ["one", "two"].map(|folder| here.path().join(folder));
    let builder = Builder::new().out_dir(here.path());
    assert_eq!(
        here.told(builder.compile(&[here.path().join("two/a.proto")], &includes)),
        "two/a.proto: `one/a.proto` was read in its place; both have the same name below an include \
         path; put the include path of the given file first"
    );
}

#[test]
fn traits_that_are_derived_twice_are_an_error() {
    let case = Case::new("refused/derive-eq-hash");
    let folder = tempfile::tempdir().expect("a folder");
    let compile = |attribute: &str| {
        let builder = Builder::new().out_dir(folder.path());
        let builder = builder.type_attribute("chat.v1.Line", attribute);
        let [includes] = case.protos().try_into().expect("one file");
        let parent = includes.parent().expect("a folder").to_owned();
        builder.compile(&[includes], &[parent])
    };
    let error = compile("#[derive(Eq, Hash)]").expect_err("two derives");
    assert_eq!(
        error.to_string(),
        "prost-build cannot generate the code: `Line` derives `Eq` and `Hash` twice: prost derives \
         it already where the fields of a message allow that, so leave it out of the attribute"
    );
    let error = compile("#[derive(std::hash::Hash)]").expect_err("two derives");
    assert!(
        error.to_string().contains("`Line` derives `Hash` twice"),
        "{error}"
    );
    compile("#[derive(PartialOrd)]").expect("prost does not derive it");
}

#[test]
fn names_in_merged_modules_that_are_one_in_rust_are_an_error() {
    let with = |inner: &str| {
        let text = format!("package shop;\nmessage Cart {{\n{inner}\n}}");
        let schema = Schema::of(&[
            ("test.proto", text.as_str()),
            ("b.proto", "package shop.cart;\nmessage Item {}"),
        ]);
        let builder = Builder::new().out_dir(schema.path());
        schema.told(builder.compile(&["test.proto", "b.proto"], &[schema.path()]))
    };
    assert_eq!(
        with("message Item {}"),
        "b.proto:2:1: `shop.cart.Item` and `shop.Cart.Item` (test.proto:3:1) are both `Item` in Rust; \
         rename one of them"
    );
    assert_eq!(
        with("oneof item { string a = 1; }"),
        "b.proto:2:1: `shop.cart.Item` and `shop.Cart.item` (test.proto:3:1) are both `Item` in Rust; \
         rename one of them"
    );
}

#[test]
fn names_of_packages_of_underscores_are_an_error() {
    for (package, name) in [
        ("_", "_"),
        ("__", "__"),
        ("a._.b", "a._"),
        ("a.b._", "a.b._"),
    ] {
        assert_eq!(
            error_of(&format!(
                "syntax = \"proto3\";\npackage {package}; message M {{}}"
            )),
            format!("test.proto:2:1: nothing is left of the name `{name}` in Rust; rename it")
        );
    }
}

#[test]
fn a_package_of_an_underscore_is_not_taken_for_none() {
    for (name, first, second) in [("a", "", "package _;"), ("b", "package _;", "")] {
        let file = |package: &str, rest: &str| format!("syntax = \"proto3\";\n{package}\n{rest}");
        let other = format!("{name}.proto");
        let here = Schema::of(&[
            (
                "test.proto",
                file(first, &format!("import \"{other}\"; message M {{}}")),
            ),
            (&other, file(second, "message N {}")),
        ]);
        let at = if first.is_empty() {
            &other
        } else {
            "test.proto"
        };
        assert_eq!(
            here.error(),
            format!("{at}:2:1: nothing is left of the name `_` in Rust; rename it")
        );
    }
}
