//! Text of others in a line: bounded, and without a character that could end the line, or that a terminal
//! would obey.

use std::fmt::{self, Write as _};

use crate::observe::access_log::digits::push_hex;

/// The most bytes that one value takes in a line, escaped.
pub(super) const MAX_VALUE_BYTES: usize = 1_024;

/// Stands at the end of a value that was longer.
pub(super) const CUT: &[u8] = "…".as_bytes();

/// Adds a value, escaped as JSON has it; one that is longer than [`MAX_VALUE_BYTES`] is cut.
pub(super) fn push_escaped(line: &mut Vec<u8>, value: &dyn fmt::Display) {
    let end = line.len() + MAX_VALUE_BYTES;
    let mut escaper = Escaper {
        line,
        end,
        is_cut: false,
    };
    // An error is the end of the room, or that of the value itself.
    let _ = write!(escaper, "{value}");
    if escaper.is_cut {
        line.extend_from_slice(CUT);
    }
}

/// The same for a text, without the cost of `fmt`.
pub(super) fn push_escaped_str(line: &mut Vec<u8>, text: &str) {
    match text.len() <= MAX_VALUE_BYTES && all_plain(text) {
        true => line.extend_from_slice(text.as_bytes()),
        false => push_escaped(line, &text),
    }
}

/// Escapes all that is written to it.
struct Escaper<'a> {
    line: &'a mut Vec<u8>,
    end: usize,
    is_cut: bool,
}

impl fmt::Write for Escaper<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.line.len() + text.len() <= self.end && all_plain(text) {
            self.line.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        let begin = self.line.len();
        push_char(self.line, c);
        if self.line.len() > self.end {
            self.line.truncate(begin);
            self.is_cut = true;
            return Err(fmt::Error);
        }
        Ok(())
    }
}

fn push_char(line: &mut Vec<u8>, c: char) {
    match c {
        '"' => line.extend_from_slice(b"\\\""),
        '\\' => line.extend_from_slice(b"\\\\"),
        '\n' => line.extend_from_slice(b"\\n"),
        '\r' => line.extend_from_slice(b"\\r"),
        '\t' => line.extend_from_slice(b"\\t"),
        c if is_printable(c) => {
            line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        c => push_units(line, c),
    }
}

/// Adds a character as JSON escapes any character: the numbers of its UTF-16 units.
fn push_units(line: &mut Vec<u8>, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        line.extend_from_slice(b"\\u");
        push_hex(line, unit.to_be_bytes());
    }
}

/// Whether a character can be shown as it is. Not those that control a terminal, change the direction of
/// text or break lines, among ASCII and beyond.
fn is_printable(c: char) -> bool {
    match c.is_ascii() {
        true => is_plain(c as u8),
        false => c.escape_debug().len() == 1,
    }
}

/// Whether all of a text stands for itself.
fn all_plain(text: &str) -> bool {
    text.bytes().all(is_plain)
}

/// Whether a byte is ASCII that stands for itself.
fn is_plain(byte: u8) -> bool {
    PLAIN[usize::from(byte)]
}

/// The bytes that are printable ASCII, without the two that JSON escapes. A look into a table is faster than
/// comparisons.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte <= 0x7e {
        plain[byte] = true;
        byte += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain
};

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::{MAX_VALUE_BYTES, push_escaped, push_escaped_str};

    fn escaped(text: &str) -> String {
        let (mut line, mut displayed) = (Vec::new(), Vec::new());
        push_escaped_str(&mut line, text);
        push_escaped(&mut displayed, &text);
        assert_eq!(line, displayed);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn characters_that_control_something_are_escaped_and_all_others_stay() {
        for (text, expected) in [
            ("", ""),
            ("no such room", "no such room"),
            ("Größe 東京 🦀", "Größe 東京 🦀"),
            ("a \"b\" \\", r#"a \"b\" \\"#),
            ("a\r\n\tb", r"a\r\n\tb"),
            ("\0\u{1b}[31m\u{7f}", r"\u0000\u001b[31m\u007f"),
            ("\u{9b}31m\u{85}", r"\u009b31m\u0085"),
            ("\u{2028}\u{202e}\u{200b}", r"\u2028\u202e\u200b"),
            ("\u{e0041}", r"\udb40\udc41"),
        ] {
            assert_eq!(escaped(text), expected);
        }
        for c in ('\0'..='\u{10ffff}').filter(|c| c.is_control()) {
            assert!(escaped(&c.to_string()).starts_with('\\'), "{c:?}");
        }
    }

    #[test]
    fn a_value_is_cut_between_two_characters_and_the_longest_is_not() {
        let longest = "a".repeat(MAX_VALUE_BYTES);
        assert_eq!(escaped(&longest), longest);
        assert_eq!(escaped(&format!("{longest}a")), format!("{longest}…"));
        let odd = format!("a{}", "é".repeat(MAX_VALUE_BYTES));
        let cut = escaped(&odd);
        assert_eq!(cut.len(), MAX_VALUE_BYTES - 1 + "…".len());
        let lines = "\n".repeat(MAX_VALUE_BYTES);
        assert_eq!(escaped(&lines).len(), MAX_VALUE_BYTES + "…".len());
    }

    #[test]
    fn a_value_that_never_ends_or_fails_to_print_is_a_value() {
        struct Endless;

        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("again ")?;
                }
            }
        }

        struct Failed;

        impl fmt::Display for Failed {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a")?;
                Err(fmt::Error)
            }
        }

        let mut line = Vec::new();
        push_escaped(&mut line, &Endless);
        assert_eq!(line.len(), MAX_VALUE_BYTES + "…".len());
        line.clear();
        push_escaped(&mut line, &Failed);
        assert_eq!(line, b"a");
    }
}
