//! Turns the comments of a schema into docs that neither the compiler nor rustdoc complains about,
//! whatever they hold: code blocks are text and no doctests, brackets and tags are no links and no
//! HTML, and characters that Rust forbids in comments are left out.
//!
//! prost would change the comments on their way, so it gets a placeholder for each, which is replaced
//! in its output.

mod inline;

use prost_types::FileDescriptorProto;

use crate::comments::inline::Place;

/// The docs of a schema that is on its way through prost.
#[derive(Debug, Default)]
pub(crate) struct Docs(Vec<String>);

/// The line in place of a comment, before its number.
const PLACEHOLDER: &str = "__wawo_docs_";

impl Docs {
    /// Takes all comments of a file, and leaves placeholders.
    pub(crate) fn take(&mut self, file: &mut FileDescriptorProto) {
        let info = file.source_code_info.iter_mut();
        for location in info.flat_map(|info| &mut info.location) {
            location.leading_detached_comments.clear();
            for comment in [
                &mut location.leading_comments,
                &mut location.trailing_comments,
            ] {
                let docs = comment.take().map(|comment| marked(&plain(&comment)));
                *comment = docs.filter(|docs| !docs.is_empty()).map(|docs| {
                    self.0.push(docs);
                    format!(" {PLACEHOLDER}{}\n", self.0.len() - 1)
                });
            }
        }
    }

    /// Puts the docs in the place of their placeholders in generated code.
    pub(crate) fn put(&self, code: &str) -> String {
        let mut text = String::with_capacity(code.len());
        for line in code.lines() {
            let Some(docs) = self.at(line) else {
                text += line;
                text.push('\n');
                continue;
            };
            for docs in docs.lines() {
                let space = if docs.is_empty() { "" } else { " " };
                text += &format!("{}///{space}{docs}\n", &line[..indentation(line)]);
            }
        }
        text
    }

    /// The docs whose placeholder a line is.
    fn at(&self, line: &str) -> Option<&String> {
        let number = line.trim().strip_prefix("/// ")?;
        let number = number.strip_prefix(PLACEHOLDER)?;
        self.0.get(number.parse::<usize>().ok()?)
    }
}

/// Returns a comment without the characters that have no place in the docs of Rust code: the
/// compiler rejects a carriage return alone, and marks of the direction of text, which can make code
/// look like another. Lines end with a line feed only.
fn plain(comment: &str) -> String {
    let is_mark = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
    let comment = comment.replace("\r\n", "\n").replace('\r', "\n");
    let comment = comment.replace('\t', "    ");
    let is_plain = |c: &char| *c == '\n' || !(c.is_control() || is_mark(*c));
    comment.chars().filter(is_plain).collect()
}

/// Returns a comment whose code blocks are fenced and marked as text. Fences start in the first
/// column, where they end all lists and quotes, so it is certain which lines they enclose. The
/// comment starts in the first column too, because prost indents lines by the indentation of the
/// first.
fn marked(comment: &str) -> String {
    let lines = comment.lines().filter(|line| !line.trim().is_empty());
    let margin = lines.map(indentation).min().unwrap_or(0);
    let mut docs = Vec::new();
    let mut block: Option<Block<'_>> = None;
    // An indented line right after a paragraph belongs to the paragraph.
    let mut in_paragraph = false;
    let mut place = Place::Paragraph;
    let mut lines = comment.lines().peekable();
    while let Some(line) = lines.next() {
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
        place = match place {
            _ if block.is_some() || line.is_empty() => Place::Paragraph,
            Place::Table => Place::Table,
            _ if lines.peek().is_some_and(|next| is_below_header(next)) => Place::Table,
            place => place,
        };
        let Some(opened) = block else {
            docs.push(format!("{marks}{}", inline::escaped(text, place)));
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
    docs.join("\n").trim_end().to_owned()
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

/// Whether a line is the second of a table, such as `|---|:-:|`.
fn is_below_header(line: &str) -> bool {
    line.contains('|') && line.contains('-') && line.chars().all(|c| "|-: >".contains(c))
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
    use super::{marked, plain};

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
            (
                " `a|b`\n\n | a|\n |-|\n | `b|c`|\n\n `d|e`",
                "`a|b`\n\n| a|\n|-|\n| `b\\|c`|\n\n`d|e`",
            ),
            (
                " > a | `b|c`\n > --|:-:\n > `d|e` | f",
                "> a | `b\\|c`\n> --|:-:\n> `d\\|e` | f",
            ),
        ] {
            assert_eq!(marked(&plain(comment)), docs, "{comment}");
        }
    }

    #[test]
    fn characters_that_rust_forbids_in_comments_are_left_out() {
        assert_eq!(plain("a\rb\r\nc\n\td\0\u{b}"), "a\nb\nc\n    d");
        let marks = "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{200e}\u{200f}\u{61c}";
        assert_eq!(plain(&format!("a{marks}\u{5d0}")), "a\u{5d0}");
    }
}
