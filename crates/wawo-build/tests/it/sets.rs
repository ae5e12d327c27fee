//! Descriptor sets that no compiler has written: each is an error or code, never a panic, and no file
//! is written outside of the output folder.

use std::{fs, panic};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, OneofDescriptorProto,
    ServiceDescriptorProto, SourceCodeInfo,
    field_descriptor_proto::{Label, Type},
};
use wawo_build::{Builder, Error};

use crate::cases::{Case, compile_set, files};

/// A file with one item of each kind, all called by their kinds.
fn file() -> FileDescriptorProto {
    let name = |name: &str| Some(name.to_owned());
    let field = |field: &str, number| FieldDescriptorProto {
        name: name(field),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::String.into()),
        ..FieldDescriptorProto::default()
    };
    let message = DescriptorProto {
        name: name("Message"),
        field: vec![
            field("field", 1),
            FieldDescriptorProto {
                oneof_index: Some(0),
                ..field("choice", 2)
            },
        ],
        oneof_decl: vec![OneofDescriptorProto {
            name: name("oneof"),
            ..OneofDescriptorProto::default()
        }],
        ..DescriptorProto::default()
    };
    FileDescriptorProto {
        name: name("a.proto"),
        package: name("package.v1"),
        syntax: name("proto3"),
        message_type: vec![message],
        enum_type: vec![EnumDescriptorProto {
            name: name("Enum"),
            value: vec![EnumValueDescriptorProto {
                name: name("VALUE"),
                number: Some(0),
                ..EnumValueDescriptorProto::default()
            }],
            ..EnumDescriptorProto::default()
        }],
        service: vec![ServiceDescriptorProto {
            name: name("Service"),
            method: vec![MethodDescriptorProto {
                name: name("Method"),
                input_type: name(".package.v1.Message"),
                output_type: name(".package.v1.Message"),
                ..MethodDescriptorProto::default()
            }],
            ..ServiceDescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    }
}

/// Compiles a set in a folder deep within another, and checks that nothing is written elsewhere.
fn compile(set: &[u8]) -> Result<(), Error> {
    let root = tempfile::tempdir().expect("a folder");
    let out = root.path().join("a/b/out");
    fs::create_dir_all(&out).expect("a folder");
    let builder = Builder::new().out_dir(&out).include_file("all.rs");
    let builder = builder.prost(|prost| _ = prost.format(false));
    let result = panic::catch_unwind(panic::AssertUnwindSafe(|| compile_set(builder, set)));
    for (folder, inner) in [("", "a"), ("a", "b"), ("a/b", "out")] {
        let folder = root.path().join(folder);
        assert_eq!(files(&folder), [folder.join(inner)]);
    }
    result.unwrap_or_else(|_| panic!("a panic for the set {set:02x?}"))
}

fn compile_files(file: Vec<FileDescriptorProto>) -> Result<(), Error> {
    compile(&FileDescriptorSet { file }.encode_to_vec())
}

fn error(file: FileDescriptorProto) -> String {
    compile_files(vec![file])
        .expect_err("a wrong set")
        .to_string()
}

#[test]
fn the_file_itself_is_valid() {
    compile_files(vec![file()]).expect("a set");
}

/// Gives an item of a file another name.
type Rename = fn(&mut FileDescriptorProto, String);

#[test]
fn names_with_other_characters_are_an_error() {
    let renamed: [(&str, Rename); 9] = [
        ("package", |file, name| file.package = Some(name)),
        ("message", |file, name| {
            file.message_type[0].name = Some(name)
        }),
        ("field", |file, name| {
            file.message_type[0].field[0].name = Some(name)
        }),
        ("oneof", |file, name| {
            file.message_type[0].oneof_decl[0].name = Some(name)
        }),
        ("enum", |file, name| file.enum_type[0].name = Some(name)),
        ("value", |file, name| {
            file.enum_type[0].value[0].name = Some(name)
        }),
        ("service", |file, name| file.service[0].name = Some(name)),
        ("method", |file, name| {
            file.service[0].method[0].name = Some(name)
        }),
        ("nested", |file, name| {
            let nested = DescriptorProto {
                name: Some(name),
                ..DescriptorProto::default()
            };
            file.message_type[0].nested_type.push(nested);
        }),
    ];
    for (item, rename) in renamed {
        for name in [
            "../../evil",
            "/etc/evil",
            "C:\\evil",
            "a\0b",
            "a b",
            "1a",
            "\u{202e}a",
            "a\"; b",
        ] {
            let mut file = file();
            rename(&mut file, name.to_owned());
            let error = error(file);
            assert!(error.starts_with("a.proto: `"), "{item} {name:?}: {error}");
            assert!(
                error.contains("is not a name; names are letters"),
                "{item} {name:?}: {error}"
            );
        }
        let mut unnamed = file();
        rename(&mut unnamed, String::new());
        let result = compile_files(vec![unnamed]);
        assert!(item == "package" || result.is_err(), "{item}");
        let mut long = file();
        rename(&mut long, "a".repeat(100_000));
        // Its types keep the names, so some renamed files are wrong for that.
        let result = compile_files(vec![long]);
        assert!(item != "package" || result.is_err(), "{item}");
    }
}

#[test]
fn an_unknown_syntax_is_an_error() {
    let with = |syntax: &str| {
        error(FileDescriptorProto {
            syntax: Some(syntax.to_owned()),
            ..file()
        })
    };
    assert_eq!(
        with("proto4"),
        "a.proto: the syntax `proto4` is unknown; it can be `proto2` or `proto3`"
    );
    assert!(with("editions").starts_with("a.proto: the file uses editions, which"));
}

#[test]
fn imports_that_are_missing_or_form_a_cycle_are_an_error() {
    let importing = |name: &str, import: &str| FileDescriptorProto {
        name: Some(name.to_owned()),
        package: Some(name.trim_end_matches(".proto").to_owned()),
        dependency: vec![import.to_owned()],
        public_dependency: vec![0],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    assert_eq!(
        error(importing("a.proto", "b.proto")),
        "the descriptor set cannot be read: `a.proto` imports `b.proto`, which is not in it; write the \
         set with all imports, as `protoc` does with `--include_imports`"
    );
    let cycle = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(name, import)| importing(name, import));
        compile_files(files.collect())
            .expect_err("a cycle")
            .to_string()
    };
    assert_eq!(
        cycle(&[
            ("c.proto", "a.proto"),
            ("a.proto", "b.proto"),
            ("b.proto", "a.proto")
        ]),
        "the descriptor set cannot be read: files import each other: a.proto -> b.proto -> a.proto"
    );
    assert_eq!(
        cycle(&[("a.proto", "a.proto")]),
        "the descriptor set cannot be read: files import each other: a.proto -> a.proto"
    );
    let mut far = importing("a.proto", "b.proto");
    far.public_dependency = vec![-1, 7];
    assert!(compile_files(vec![far, file()]).is_err());
    compile_files(vec![file(), file()]).expect("one file, twice");
}

#[test]
fn fields_with_impossible_numbers_and_types_are_an_error() {
    let with = |change: fn(&mut FieldDescriptorProto)| {
        let mut file = file();
        change(&mut file.message_type[0].field[0]);
        compile_files(vec![file])
    };
    for change in [
        (|field| field.number = Some(i32::MAX)) as fn(&mut FieldDescriptorProto),
        |field| field.number = Some(-1),
        |field| field.number = Some(0),
        |field| field.number = None,
        |field| field.number = Some(19_000),
        |field| field.oneof_index = Some(7),
        |field| field.oneof_index = Some(-7),
        |field| field.type_name = Some(".package.v1.Nothing".to_owned()),
        |field| field.type_name = Some(".".to_owned()),
    ] {
        assert!(with(change).is_err());
    }
    // A message that contains itself is boxed.
    with(|field| {
        field.r#type = Some(Type::Message.into());
        field.type_name = Some(".package.v1.Message".to_owned());
    })
    .expect("a message that contains itself");
}

#[test]
fn positions_that_are_missing_are_no_error() {
    let mut file = file();
    file.source_code_info = Some(SourceCodeInfo::default());
    compile_files(vec![file]).expect("a set without positions");
}

/// Numbers that look random, for one seed always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

/// Changes a set somewhere before an end: a byte, a run of bytes, or where the set ends.
fn changed(set: &[u8], end: usize, random: &mut Random) -> Vec<u8> {
    let mut set = set.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(end.min(set.len()));
        match random.below(5) {
            0 => set[at] = random.below(256) as u8,
            1 => set[at] ^= 1 << random.below(8),
            2 => set.truncate(at.max(1)),
            3 => {
                let end = (at + random.below(40)).min(set.len());
                let part = set[at..end].to_vec();
                let to = random.below(end.min(set.len()));
                set.splice(to..to, part);
            }
            _ => {
                // The lengths stay right, so the change reaches the linker and the generator.
                const ODD: &[u8] = b"./\\\0\"{}1 _";
                if set[at].is_ascii_alphanumeric() {
                    set[at] = ODD[random.below(ODD.len())];
                }
            }
        }
    }
    set
}

#[test]
fn a_set_that_was_changed_anywhere_is_an_error_or_code() {
    let mut cases = Case::that_build();
    // The parser alone does not know its options.
    cases.retain(|case| case.name() != "nan-option");
    let sets = cases.iter().map(Case::descriptor_set);
    let sets = sets.chain([FileDescriptorSet { file: vec![file()] }]);
    let seeds = sets.map(|set| (set.encode_to_vec(), own_bytes(set)));
    let seeds = seeds.collect::<Vec<_>>();
    let mut random = Random(14);
    let mut errors = 0;
    for round in 0..300 {
        let (set, end) = &seeds[round % seeds.len()];
        let set = changed(set, *end, &mut random);
        errors += usize::from(compile(&set).is_err());
    }
    assert!((50..300).contains(&errors), "{errors} errors");
}

/// The size of a user's own files, which come first. Changes of the others reach no code.
fn own_bytes(mut set: FileDescriptorSet) -> usize {
    set.file.retain(|file| !file.name().starts_with("google/"));
    set.encoded_len()
}
