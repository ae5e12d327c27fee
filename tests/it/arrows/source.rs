//! Reads the names of other modules in a file of Rust: its paths, and the names that it re-exports.
//!
//! ```text
//!  text ──► tokens ──► without tests ──► paths, and what `pub use` passes on
//! ```
//!
//! This is no parser of Rust. It knows comments and literals, so that nothing in them counts, the trees
//! of `use`, and paths; that is all that tells who imports whom.

use std::collections::BTreeMap;

/// A path as it is written, in its parts: `crate`, `peer`, `Peer`.
pub(super) type Path = Vec<String>;

/// The names in a file.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// The paths that the file uses itself.
    pub(super) paths: Vec<Path>,
    /// The paths that the file re-exports by `pub use` or `pub(crate) use`, by their names here.
    pub(super) passed_on: BTreeMap<String, Path>,
}

impl Source {
    pub(super) fn read(text: &str) -> Self {
        let tokens = tokens(text);
        let tokens = without_tests(&tokens);
        let (mut source, mut at) = (Self::default(), 0);
        while let Some(&token) = tokens.get(at) {
            let before = at.checked_sub(1).map_or("", |before| tokens[before]);
            if token == "use" {
                let mut used = Vec::new();
                at = tree(&tokens, at + 1, &[], &mut used);
                source.add(used, is_passed_on(before));
            } else if is_word(token) && before != "::" {
                let (path, end) = path(&tokens, at);
                at = end;
                if path.len() > 1 {
                    source.paths.push(path);
                }
            } else {
                at += 1;
            }
        }
        source
    }

    fn add(&mut self, used: Vec<(Path, String)>, is_passed_on: bool) {
        for (path, name) in used {
            match is_passed_on {
                true => drop(self.passed_on.insert(name, path)),
                false => self.paths.push(path),
            }
        }
    }
}

/// Whether a `use` behind this token has a visibility: `pub use`, `pub(crate) use`.
fn is_passed_on(before: &str) -> bool {
    before == "pub" || before == ")"
}

/// A path that stands outside of `use`, and where it ends.
fn path(tokens: &[&str], mut at: usize) -> (Path, usize) {
    let mut path = vec![tokens[at].to_owned()];
    at += 1;
    while let Some(["::", part]) = tokens.get(at..at + 2)
        && is_word(part)
    {
        path.push((*part).to_owned());
        at += 2;
    }
    (path, at)
}

/// The paths of a tree of `use`, each with the name that it gets, and where the tree ends.
fn tree(
    tokens: &[&str],
    mut at: usize,
    before: &[String],
    used: &mut Vec<(Path, String)>,
) -> usize {
    let mut path = before.to_vec();
    while let Some(&token) = tokens.get(at) {
        at += 1;
        match token {
            "{" => {
                while tokens.get(at).is_some_and(|token| *token != "}") {
                    at = tree(tokens, at, &path, used);
                    at += usize::from(tokens.get(at) == Some(&","));
                }
                return at + 1;
            }
            "::" => {}
            "as" => {
                let name = tokens.get(at).copied().unwrap_or_default();
                used.push((without_self(path), name.to_owned()));
                return at + 1;
            }
            word if is_word(word) || word == "*" => path.push(word.to_owned()),
            _ => {
                at -= 1;
                break;
            }
        }
    }
    let path = without_self(path);
    let name = path.last().cloned().unwrap_or_default();
    used.push((path, name));
    at
}

/// `self` in a tree of `use` is the module before it.
fn without_self(mut path: Path) -> Path {
    path.pop_if(|last| last == "self");
    path
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, numbers, `::`, and all other characters by themselves; no comments, literals, lifetimes.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match skipped(rest) {
            Some(length) => length,
            None => {
                let length = token_len(rest, first);
                tokens.push(&rest[..length]);
                length
            }
        };
        rest = &rest[length..];
    }
    tokens
}

fn token_len(rest: &str, first: char) -> usize {
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
    match word.unwrap_or(rest.len()) {
        0 if rest.starts_with("::") => 2,
        0 => first.len_utf8(),
        word => word,
    }
}

/// The length of what is no token: white space, a comment, a literal, or a lifetime.
fn skipped(rest: &str) -> Option<usize> {
    let space = rest.len() - rest.trim_start().len();
    if space > 0 {
        return Some(space);
    }
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    let hashes = rest.trim_start_matches(['b', 'c', 'r']);
    let prefix = rest.len() - hashes.len();
    let text = hashes.trim_start_matches('#');
    if text.starts_with('"') && (prefix > 0 || hashes.len() == text.len()) && prefix <= 2 {
        let is_raw = rest[..prefix].contains('r');
        return Some(string_len(rest, text, hashes.len() - text.len(), is_raw));
    }
    let quoted = rest.strip_prefix('\'')?;
    Some(1 + quote_len(quoted))
}

/// The length of a literal, of which `text` is the part from the first quote.
fn string_len(rest: &str, text: &str, hashes: usize, is_raw: bool) -> usize {
    let start = rest.len() - text.len() + 1;
    if is_raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return rest[start..]
            .find(&end)
            .map_or(rest.len(), |at| start + at + end.len());
    }
    let mut is_escaped = false;
    let end = rest[start..].find(|c: char| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    end.map_or(rest.len(), |end| start + end + 1)
}

/// The length of a character or a lifetime behind its quote.
fn quote_len(quoted: &str) -> usize {
    if let Some(escape) = quoted.strip_prefix('\\') {
        let code = escape.chars().next().map_or(0, char::len_utf8);
        let end = escape[code..]
            .find('\'')
            .map_or(escape.len(), |end| code + end + 1);
        return 1 + end;
    }
    let first = quoted.chars().next().map_or(0, char::len_utf8);
    if quoted[first..].starts_with('\'') {
        return first + 1;
    }
    let lifetime = quoted.find(|c: char| !c.is_alphanumeric() && c != '_');
    lifetime.unwrap_or(quoted.len())
}

/// Without the items under `#[cfg(test)]`: tests may use all.
fn without_tests<'a>(tokens: &[&'a str]) -> Vec<&'a str> {
    let mut left = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let attribute = attribute_len(&tokens[at..]);
        let condition = &tokens[at..at + attribute];
        let is_of_tests = condition.get(2) == Some(&"cfg") && condition.contains(&"test");
        if is_of_tests && !condition.contains(&"not") {
            at += attribute + item_len(&tokens[at + attribute..]);
        } else {
            left.push(tokens[at]);
            at += 1;
        }
    }
    left
}

/// The length of `#[..]`, or 0.
fn attribute_len(tokens: &[&str]) -> usize {
    match tokens {
        ["#", "[", ..] => tokens
            .iter()
            .position(|token| *token == "]")
            .map_or(0, |end| end + 1),
        _ => 0,
    }
}

/// The length of an item, which ends with a semicolon or with braces.
fn item_len(tokens: &[&str]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "{" => depth += 1,
            "}" if depth <= 1 => return at + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::{Source, tokens};

    fn paths(text: &str) -> Vec<String> {
        let paths = Source::read(text).paths.into_iter();
        paths.map(|path| path.join("::")).collect()
    }

    #[test]
    fn comments_literals_and_lifetimes_are_no_tokens() {
        let text = r####"
            //! crate::a
            /* crate::b */ fn f<'a>(x: &'a str) -> char { 'x' ; '\'' ; '"' ; '\u{1F600}' }
            const S: &str = "crate::c \" crate::d"; const R: &[u8] = br##"crate::e "# crate::f"##; r
        "####;
        let expected = "fn f < > ( x : & str ) - > char { ; ; ; } \
                        const S : & str = ; const R : & [ u8 ] = ; r";
        assert_eq!(tokens(text).join(" "), expected);
    }

    #[test]
    fn paths_are_found_in_trees_of_use_and_in_code() {
        let text = "use std::fmt;\nuse crate::{a::{self, B, c::D as E}, f};\n\
                    fn g(h: super::H) -> i::J::K { crate::l::m::<N>(x.y()) }";
        let expected = [
            "std::fmt",
            "crate::a",
            "crate::a::B",
            "crate::a::c::D",
            "crate::f",
            "super::H",
            "i::J::K",
            "crate::l::m",
        ];
        assert_eq!(paths(text), expected);
    }

    #[test]
    fn what_a_module_passes_on_it_does_not_use() {
        let source = Source::read("pub use crate::a::B; pub(crate) use self::c::{D, E as F};");
        assert!(source.paths.is_empty(), "{:?}", source.paths);
        let passed_on = source.passed_on.iter();
        let passed_on = passed_on.map(|(name, path)| format!("{name}: {}", path.join("::")));
        let passed_on: Vec<_> = passed_on.collect();
        assert_eq!(
            passed_on,
            ["B: crate::a::B", "D: self::c::D", "F: self::c::E"]
        );
    }

    #[test]
    fn tests_are_left_out() {
        let text = "#[cfg(test)]\nuse crate::a;\n#[cfg(not(test))] use crate::b;\n\
                    #[cfg(all(test, unix))]\n#[allow(x)]\nmod tests { fn f() { crate::c::d() } }\n\
                    use crate::e;";
        assert_eq!(paths(text), ["crate::b", "crate::e"]);
    }
}
