//! Turns the comments of a schema into docs without doctests.
//!
//! rustdoc takes code blocks for Rust, and `cargo test` runs them. In a schema they are other
//! languages, so they are marked as text before prost or our generator see them.

use prost_types::FileDescriptorProto;

/// Marks the code blocks in all comments of a file.
pub(crate) fn mark_code(file: &mut FileDescriptorProto) {
    let info = file.source_code_info.iter_mut();
    for location in info.flat_map(|info| &mut info.location) {
        let comments = [
            &mut location.leading_comments,
            &mut location.trailing_comments,
        ];
        for comment in comments.into_iter().flatten() {
            *comment = marked(comment);
        }
    }
}

/// Returns a comment whose code blocks are fenced and marked as text. Fences start in the first
/// column, where they end all lists and quotes, so it is certain which lines they enclose. The
/// comment starts in the first column too, because prost indents lines by the indentation of the
/// first.
fn marked(comment: &str) -> String {
    let comment = comment.replace('\t', "    ");
    let lines = comment.lines().filter(|line| !line.trim().is_empty());
    let margin = lines.map(indentation).min().unwrap_or(0);
    let mut docs = Vec::new();
    let mut block: Option<Block<'_>> = None;
    // An indented line right after a paragraph belongs to the paragraph.
    let mut in_paragraph = false;
    for line in comment.lines() {
        let line = line.get(margin..).unwrap_or_default().trim_end();
        let (marks, text) = split_marks(line);
        let fence = fence(text);
        match block {
            Some(Block::Fenced(open)) if fence.starts_with(open) && fence == text => {
                docs.push(open.to_owned());
                block = None;
                continue;
            }
            Some(Block::Indented) if !line.is_empty() && indentation(line) < 4 => {
                docs.push(Block::Indented.fence().to_owned());
            }
            Some(_) => {
                docs.push(line.to_owned());
                continue;
            }
            None => {}
        }
        block = match fence {
            _ if !in_paragraph && indentation(line) >= 4 => Some(Block::Indented),
            "" => None,
            fence => Some(Block::Fenced(fence)),
        };
        let Some(opened) = block else {
            docs.push(format!("{marks}{text}"));
            in_paragraph = !text.starts_with(['#', '<']) && text.contains(char::is_alphanumeric);
            continue;
        };
        in_paragraph = false;
        // An empty line ends an HTML block, which would otherwise include the fence.
        let after_text = docs.last().is_some_and(|last| !last.is_empty());
        docs.extend(after_text.then(String::new));
        docs.push(format!("{}text", opened.fence()));
        if let Block::Indented = opened {
            docs.push(line.to_owned());
        }
    }
    docs.extend(block.map(|block| block.fence().to_owned()));
    docs.join("\n")
}

/// The kind of a code block in a comment.
#[derive(Clone, Copy)]
enum Block<'a> {
    /// A fence. A fence of at least the same length ends the block.
    Fenced(&'a str),
    /// Indentation.
    Indented,
}

impl<'a> Block<'a> {
    /// The fence around the block in the docs.
    fn fence(self) -> &'a str {
        match self {
            Self::Fenced(fence) => fence,
            Self::Indented => "```",
        }
    }
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Splits off the prefix of a line: indentation, and the marks of quotes and list items with one
/// space after each, since more spaces would make the text code.
fn split_marks(line: &str) -> (String, &str) {
    let is_mark = |c: char| c.is_ascii_digit() || " >-*+.)".contains(c);
    let text = line.trim_start_matches(is_mark);
    let (indentation, marks) = line[..line.len() - text.len()].split_at(indentation(line));
    let mut marks = marks.to_owned();
    while marks.contains("  ") {
        marks = marks.replace("  ", " ");
    }
    (format!("{indentation}{marks}"), text)
}

/// The fence at the start of a text, or an empty text.
fn fence(text: &str) -> &str {
    ["`", "~"]
        .iter()
        .map(|mark| &text[..text.len() - text.trim_start_matches(mark).len()])
        .find(|fence| fence.len() >= 3)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::marked;

    #[test]
    fn code_is_fenced_and_marked() {
        for (comment, docs) in [
            (" Says a.\n Says b.\n", "Says a.\nSays b."),
            (" ```\n let x;\n ```\n b", "```text\nlet x;\n```\nb"),
            (" ~~~rust\n ```\n ~~~", "~~~text\n```\n~~~"),
            (" ````\n ```\n x\n", "````text\n```\nx\n````"),
            (
                " a\n\n     x\n\n\t y\n b",
                "a\n\n```text\n    x\n\n    y\n```\nb",
            ),
            ("     x\n a", "```text\n    x\n```\na"),
            (" # A\n     x", "# A\n\n```text\n    x\n```"),
            (" a\n     b\n", "a\n    b"),
            (" - a\n     - b\n", "- a\n    - b"),
            (" > ```rust\n > x\n > ```", "```text\n> x\n```"),
            (" >     x\n", "> x"),
            (" 1. ```\n    x\n    ```\n", "```text\n   x\n```"),
        ] {
            assert_eq!(marked(comment), docs, "{comment}");
        }
    }
}
