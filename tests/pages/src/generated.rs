//! Compares the page of generated code with the code that is generated for its schema.

use std::fs;

mod notes {
    #![allow(missing_docs, unreachable_pub, unused_qualifications)]
    wawo::include_proto!("notes.v1");
}

/// Paths that the page leaves out.
const LEFT_OUT: [&str; 10] = [
    "::wawo::codegen::prost::alloc::string::",
    "::wawo::codegen::prost::alloc::vec::",
    "::wawo::codegen::prost_types::",
    "::wawo::codegen::prost::bytes::",
    "::wawo::codegen::prost::",
    "::wawo::codegen::",
    "::core::option::",
    "::std::collections::",
    "codegen::",
    "super::",
];

/// Code without the paths that the page leaves out, white space, attributes and documentation.
fn shortened(code: &str) -> String {
    let is_code = |line: &&str| !line.starts_with("///") && !line.starts_with("#[");
    let mut code: String = code.lines().map(str::trim).filter(is_code).collect();
    for path in LEFT_OUT {
        code = code.replace(path, "");
    }
    code.retain(|c| !c.is_whitespace());
    code.replace(",>", ">").replace(",)", ")")
}

/// The lines of the blocks of shortened code on the page.
fn shown(page: &str) -> impl Iterator<Item = &str> {
    let blocks = page.split("```rust,ignore\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).map(str::trim)
}

/// Whether a line is code of the module that includes the generated code.
fn is_of_user(line: &str) -> bool {
    line.starts_with("#[") || line.contains("include_proto!")
}

#[test]
fn the_page_shows_what_is_generated() {
    let file = concat!(env!("OUT_DIR"), "/notes.v1.rs");
    let code = shortened(&fs::read_to_string(file).unwrap());
    let page = include_str!("../../../docs/generated.md");
    let lines: Vec<&str> = shown(page)
        .filter(|line| line.len() > 1 && !is_of_user(line))
        .collect();
    assert!(lines.len() > 30, "the blocks are found: {lines:?}");
    for line in lines {
        let line = line.trim_end_matches([';', ',']);
        assert!(
            code.contains(&shortened(line)),
            "the generated code has no `{line}`"
        );
    }
}

#[test]
fn the_names_on_the_page_exist() {
    use notes::{Color, Note, NotesClient, NotesServer, note, notes_service::method};

    let mut note = Note {
        place: Some(note::Place::Shelf(1)),
        ..Note::default()
    };
    note.set_color(Color::Red);
    assert_eq!(note.color(), Color::Red);
    assert_eq!(method::ADD.to_string(), "notes.v1.Notes/Add");
    assert!(!notes::FILE_DESCRIPTOR_SET.is_empty());
    let _: Option<NotesServer<()>> = None;
    let _: Option<NotesClient> = None;
}
