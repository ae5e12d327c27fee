//! The text of a comment between its code blocks, as Markdown that is what it looks like.
//!
//! Code spans, emphasis, and links to web pages stay. A bare address becomes a link. Other brackets
//! and tags are escaped: rustdoc would take them for links to Rust items and for HTML.

/// The place of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Paragraph,
    /// A row of a table, where `|` ends a cell also within code and links.
    Table,
    /// The label of a link, which can hold no other link.
    Label,
}

/// Escapes a line, or a part of one.
pub(super) fn escaped(line: &str, place: Place) -> String {
    let with_links = place != Place::Label;
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let part = match first {
            '`' => code_span(rest),
            '<' if with_links => bracketed_address(rest),
            '[' if with_links => link(rest),
            'h' if with_links => address(rest),
            '\\' => escape_sequence(rest),
            _ => None,
        };
        let part = part.map(|(taken, part)| match place {
            Place::Table => (taken, part.replace("\\|", "|").replace('|', "\\|")),
            _ => (taken, part),
        });
        let (taken, part) = part.unwrap_or_else(|| literal(rest, first));
        text += &part;
        rest = &rest[taken..];
    }
    text
}

/// A number of bytes of a text, and the Markdown for them.
type Part = (usize, String);

/// The first character, or a run of backticks, as itself.
fn literal(rest: &str, first: char) -> Part {
    match first {
        '`' => {
            let run = run_of_backticks(rest);
            (run, "\\`".repeat(run))
        }
        '<' | '[' | ']' | '\\' => (1, format!("\\{first}")),
        // It would make an image of a link.
        '!' if rest.starts_with("![") => (1, "\\!".to_owned()),
        other => (other.len_utf8(), other.to_string()),
    }
}

/// A code span that ends on the same line.
fn code_span(rest: &str) -> Option<Part> {
    let run = run_of_backticks(rest);
    let mut at = run;
    while let Some(next) = rest[at..].find('`') {
        at += next;
        let end = run_of_backticks(&rest[at..]);
        at += end;
        if end == run {
            return Some((at, rest[..at].to_owned()));
        }
    }
    None
}

fn run_of_backticks(text: &str) -> usize {
    text.len() - text.trim_start_matches('`').len()
}

/// `<https://..>`
fn bracketed_address(rest: &str) -> Option<Part> {
    let (inner, _) = rest[1..].split_once('>')?;
    let is_link = is_address(inner) && !inner.contains(['<', ' ']);
    is_link.then(|| (inner.len() + 2, format!("<{inner}>")))
}

/// `[label](https://..)`
fn link(rest: &str) -> Option<Part> {
    let (label, behind) = rest[1..].split_once("](")?;
    let (target, _) = behind.split_once(')')?;
    let is_link = !label.is_empty()
        && !label.contains(['[', ']', '`', '\\'])
        && is_address(target)
        && !target.contains([' ', '<', '>', '(', '\\', '"']);
    let taken = label.len() + target.len() + "[](".len() + ")".len();
    is_link.then(|| {
        (
            taken,
            format!("[{}]({target})", escaped(label, Place::Label)),
        )
    })
}

/// An address that stands in the text.
fn address(rest: &str) -> Option<Part> {
    let end = rest.find(|c: char| c.is_whitespace() || "<>`\"".contains(c));
    let found = &rest[..end.unwrap_or(rest.len())];
    let mut found = found.trim_end_matches(|c| ".,;:!?'*_~]\\".contains(c));
    if !found.contains('(') {
        found = found.split(')').next().unwrap_or_default();
    }
    is_address(found).then(|| (found.len(), format!("<{found}>")))
}

fn is_address(text: &str) -> bool {
    let host = text.strip_prefix("https://");
    let host = host.or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty())
}

/// A backslash and the mark that it escapes.
fn escape_sequence(rest: &str) -> Option<Part> {
    let escaped = rest[1..].chars().next()?;
    let taken = rest.get(..2).filter(|_| escaped.is_ascii_punctuation())?;
    Some((taken.len(), taken.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Place, escaped};

    #[test]
    fn brackets_and_tags_are_what_they_look_like() {
        for (line, docs) in [
            ("plain *text* and _more_", "plain *text* and _more_"),
            ("Vec<T>, </b> [Foo]", r"Vec\<T>, \</b> \[Foo\]"),
            ("[a][b] [c](d) [e]: f", r"\[a\]\[b\] \[c\](d) \[e\]: f"),
            (r"\[x\] \u{41} \", r"\[x\] \\u{41} \\"),
            ("`a[0] < b` ``c`d``", "`a[0] < b` ``c`d``"),
            ("`a ``b`` <c>", r"\`a ``b`` \<c>"),
            ("![a](https://b.c/d)", r"\![a](https://b.c/d)"),
        ] {
            assert_eq!(escaped(line, Place::Paragraph), docs, "{line}");
        }
    }

    #[test]
    fn addresses_are_links() {
        for (line, docs) in [
            ("see https://a.b/c?d=[e]f.", "see <https://a.b/c?d=[e]f>."),
            (
                "(http://a.b), <https://c.d>",
                "(<http://a.b>), <https://c.d>",
            ),
            ("[a <b>](https://c.d/e)", r"[a \<b>](https://c.d/e)"),
            ("[http://a.b](https://c.d)", "[http://a.b](https://c.d)"),
            ("https:// and http", "https:// and http"),
            (
                "`https://a.b` \"https://c.d\"",
                "`https://a.b` \"<https://c.d>\"",
            ),
        ] {
            assert_eq!(escaped(line, Place::Paragraph), docs, "{line}");
        }
    }

    #[test]
    fn code_and_links_stay_in_their_cell() {
        for (line, docs) in [
            ("| `x|Vec<T>` | y<T> |", r"| `x\|Vec<T>` | y\<T> |"),
            (r"| `x\|y` | \| |", r"| `x\|y` | \| |"),
            ("| [a|b](https://c.d) |", r"| [a\|b](https://c.d) |"),
            ("| <https://a.b/c|d> |", r"| <https://a.b/c\|d> |"),
            ("| ` |", r"| \` |"),
        ] {
            assert_eq!(escaped(line, Place::Table), docs, "{line}");
        }
        assert_eq!(escaped("`x|y`", Place::Paragraph), "`x|y`");
    }
}
