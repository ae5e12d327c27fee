//! The words of names and comments, in `src/` and in the crates: one word for each idea, nouns for types, and
//! comments that open with what they are about.

use std::{fs, path::Path};

/// Words that stand in no name, and the words that took their place.
const OLD_WORDS: &[(&str, &str)] = &[
    ("note", "one_way, or record"),
    ("notes", "one_way_batch"),
    ("piece", "batch, or part"),
    ("pieces", "batch, or parts"),
    ("shelf", "buffer_pool, or copier"),
    ("spares", "buffer_pool"),
    ("landing", "direct_read"),
    ("strikes", "flood guard"),
    ("starved", "blocked"),
    ("spending", "send_credit"),
    ("granted", "recv_credit"),
    ("budget", "credit"),
    ("window", "credit"),
    ("overdue", "timeout_cause"),
    ("greet", "handshake"),
    ("greeted", "handshake_done"),
    ("greeting", "handshake"),
    ("phase", "state"),
    ("stage", "state"),
    ("causes", "error_chain"),
    ("teller", "event_sender"),
    ("answer", "reply, or response"),
    ("answers", "replies, or responses"),
    ("answered", "replied, or responded"),
    ("handling", "handler_future"),
    ("framed", "custom_protocol"),
    ("obey", "handle_command"),
    ("turn", "drive"),
    ("want", "set_capacity"),
    ("wanted", "capacity"),
    ("hear", "receive"),
    ("heard", "received"),
    ("tell", "send, or report"),
    ("told", "sent, or reported"),
    ("rouse", "wake_io"),
    ("forget", "cancel, or lose"),
    ("abandon", "cancel"),
    ("abandoned", "cancelled"),
    ("unwanted", "cancelled"),
    ("gone", "lost"),
    ("abort", "cancel"),
];

/// Several words that stand together in no name.
const OLD_PHRASES: &[(&str, &str)] = &[
    ("let_in", "admit"),
    ("a_host", "per_host"),
    ("give_up", "cancel"),
    ("given_up", "cancelled"),
    ("call_token", "cancel_guard"),
    ("max_greeting", "max_handshakes"),
];

/// Names that no type, module or field has. As a part of a longer name, or as a verb, the word is right.
const OLD_NAMES: &[(&str, &str)] = &[
    ("Run", "Batch"),
    ("run", "batch"),
    ("Payload", "MessageBytes"),
    ("Calls", "CallTarget"),
    ("Outgoing", "OutgoingCall"),
    ("Incoming", "IncomingCalls"),
    ("Sending", "SendHalf"),
    ("Receiving", "RecvHalf"),
    ("Partial", "Assembler"),
    ("Joined", "Assembler"),
    ("Work", "HandlerFuture"),
    ("Completion", "RunToCompletion"),
    ("Shared", "a noun for what is shared"),
    ("buffers", "buffer_pool"),
    ("depth", "call_depth"),
];

/// Old words that are right where they stand: the file, the name, and the reason.
const EXCEPTED: &[(&str, &str, &str)] = &[
    (
        "server/registry.rs",
        "abort",
        "it aborts tasks, as tokio says",
    ),
    (
        "/deadline_watch.rs",
        "is_overdue",
        "the adjective of a deadline that has passed",
    ),
    (
        "/happy_eyeballs.rs",
        "families_in_turn",
        "one after the other",
    ),
    ("/file.rs", "Gone", "the file is there no more"),
    (
        "/recv_half.rs",
        "granted",
        "credit that the peer was given in all, beside what it used",
    ),
    ("/event.rs", "depth", "a field of a call"),
];

/// Participles of English that do not end in `ed` or `ing`.
const IRREGULAR: &[&str] = &[
    "Bound", "Done", "Gone", "Held", "Known", "Left", "Lost", "Made", "Sent", "Taken", "Told",
    "Wrote",
];

/// Types that end in `ed` or `ing` and stay so.
const PARTICIPLES: &[(&str, &str)] = &[
    ("Streaming", "the name that users of tonic know"),
    ("Layered", "a service with layers, as in tower"),
    ("Sealed", "the usual name of a trait that seals another"),
    ("Malformed", "an error, which reads as a finding"),
    ("PeerMisbehaved", "an error, which reads as a finding"),
    (
        "Presented",
        "credentials and facts together; `Claims` would leave out the facts",
    ),
    ("Setting", "a noun: one entry of a configuration"),
];

/// A type, function, module, field or variant, and where it is.
struct Name {
    file: String,
    kind: Kind,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Type,
    Function,
    Module,
    Field,
    Variant,
}

impl Name {
    /// The words of the name, in lower case.
    fn words(&self) -> Vec<String> {
        let mut words = vec![String::new()];
        for c in self.text.chars() {
            if c == '_' || c.is_ascii_uppercase() {
                words.push(String::new());
            }
            if c != '_' {
                words.last_mut().unwrap().push(c.to_ascii_lowercase());
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    /// The old word in the name, and the new one.
    fn old(&self) -> Option<(&'static str, &'static str)> {
        let words = self.words();
        let snake = format!("_{}_", words.join("_"));
        let is_phrase = |old: &str| snake.contains(&format!("_{old}_"));
        let mut phrases = OLD_WORDS.iter().chain(OLD_PHRASES);
        let found = phrases.find(|(old, _)| is_phrase(old));
        let is_noun = matches!(self.kind, Kind::Type | Kind::Module | Kind::Field);
        let is_name = |(old, _): &&(&str, &str)| is_noun && *old == self.text;
        found.or_else(|| OLD_NAMES.iter().find(is_name)).copied()
    }

    fn is_excepted(&self) -> bool {
        let mut excepted = EXCEPTED.iter();
        excepted.any(|(file, name, _)| self.file.ends_with(file) && *name == self.text)
    }

    fn is_participle(&self) -> bool {
        let last = self.text.rfind(|c: char| c.is_ascii_uppercase());
        let last = &self.text[last.unwrap_or(0)..];
        last.ends_with("ed") || last.ends_with("ing") || IRREGULAR.contains(&last)
    }
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The line without what may stand before the keyword of an item, or before a field.
fn without_qualifiers(line: &str) -> &str {
    let mut rest = line.trim_start();
    loop {
        let before = rest;
        if let Some(visible) = rest.strip_prefix("pub(") {
            rest = visible.split_once(')').map_or("", |(_, rest)| rest);
        }
        for qualifier in ["pub ", "async ", "unsafe ", "const fn"] {
            rest = match rest.strip_prefix(qualifier) {
                Some(_) if qualifier == "const fn" => &rest["const ".len()..],
                Some(rest) => rest,
                None => rest,
            };
        }
        rest = rest.trim_start();
        if rest == before {
            return rest;
        }
    }
}

/// The item that a line begins.
fn item(line: &str) -> Option<(Kind, &str)> {
    let (keyword, rest) = without_qualifiers(line).split_once(' ')?;
    let kind = match keyword {
        "struct" | "enum" | "trait" | "type" => Kind::Type,
        "fn" => Kind::Function,
        "mod" => Kind::Module,
        _ => return None,
    };
    let name = identifier(rest);
    (!name.is_empty()).then_some((kind, name))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// A line of a struct or enum, as `rustfmt` writes it: the name of a field, or of a variant.
fn part(line: &str) -> Option<(Kind, &str)> {
    let rest = without_qualifiers(line);
    let name = identifier(rest);
    let begins_upper = name.starts_with(|c: char| c.is_ascii_uppercase());
    match rest[name.len()..].chars().next() {
        _ if name.is_empty() => None,
        Some('(' | '{' | ' ' | ',') if begins_upper => Some((Kind::Variant, name)),
        Some(':') if !begins_upper => Some((Kind::Field, name)),
        _ => None,
    }
}

/// The names in a file, without those of its tests.
fn names(file: &str, text: &str, found: &mut Vec<Name>) {
    let code = |line: &&str| !line.trim_start().starts_with("//");
    let mut lines = text.lines().filter(code);
    let mut body: Option<usize> = None;
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let close = format!("{}}}", " ".repeat(indent(line)));
            if lines.next().is_some_and(|line| line.ends_with('{')) {
                lines.find(|line| *line == close);
            }
            continue;
        }
        let named = match body {
            Some(outer) if indent(line) == outer + 4 => part(line),
            Some(outer) => {
                body = Some(outer).filter(|_| line.trim() != "}" || indent(line) != outer);
                None
            }
            None => item(line),
        };
        let Some((kind, name)) = named else { continue };
        let rest = without_qualifiers(line);
        if (rest.starts_with("struct ") || rest.starts_with("enum ")) && line.ends_with('{') {
            body = Some(indent(line));
        }
        found.push(Name {
            file: file.to_owned(),
            kind,
            text: name.to_owned(),
        });
    }
}

fn sources(folder: &Path, visit: &mut impl FnMut(&str, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_stem().is_some_and(|name| name == "tests");
        match path.is_dir() {
            _ if is_test => {}
            true => sources(&path, visit),
            false => {
                let name = path.to_str().unwrap().replace('\\', "/");
                visit(&name, &fs::read_to_string(&path).unwrap());
            }
        }
    }
}

/// Each file of `src/` and of the crates.
fn each_source(mut visit: impl FnMut(&str, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    sources(&root.join("src"), &mut visit);
    for member in fs::read_dir(root.join("crates")).unwrap() {
        sources(&member.unwrap().path().join("src"), &mut visit);
    }
}

fn all_names() -> Vec<Name> {
    let mut found = Vec::new();
    each_source(|file, text| {
        let stem = file.rsplit('/').next().unwrap().trim_end_matches(".rs");
        found.push(Name {
            file: file.to_owned(),
            kind: Kind::Module,
            text: stem.to_owned(),
        });
        names(file, text, &mut found);
    });
    found
}

/// The text of a line of a comment.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.trim_start_matches(['/', '!']).trim_start())
}

/// The comments of a file that open with a word that names nothing, or count by "so many"; each with the
/// number of its line.
fn riddles(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut opens = true;
    for (number, line) in text.lines().enumerate() {
        let Some(text) = comment(line) else {
            opens = true;
            continue;
        };
        let first = identifier(text);
        let is_riddle = opens && ["What", "Who", "Whoever"].contains(&first);
        if is_riddle || text.to_lowercase().contains("so many") {
            found.push((number + 1, text));
        }
        // An empty line of a comment ends a paragraph, and each paragraph opens anew.
        opens = text.is_empty();
    }
    found
}

#[test]
fn no_comment_is_a_riddle() {
    let mut wrong = Vec::new();
    each_source(|file, text| {
        let print = |(line, text): (usize, &str)| format!("{file}:{line}: {text}");
        wrong.extend(riddles(text).into_iter().map(print));
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_riddle_is_found_where_it_opens_a_comment() {
    let text = "/// What it is.\n/// What follows it is no opening.\n///\n/// Who reads this.\nfn it() {}\n\
                // A comment\n// of so many lines.\n//! Whoever\n";
    let lines: Vec<_> = riddles(text).iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 4, 7]);
}

#[test]
fn no_name_has_an_old_word() {
    let names = all_names();
    assert!(names.len() > 2_000, "{} names were read", names.len());
    let wrong = |name: &&Name| name.old().is_some() && !name.is_excepted();
    let wrong: Vec<_> = names.iter().filter(wrong).collect();
    let print = |name: &&Name| {
        let (old, new) = name.old().unwrap();
        format!("{}: `{}`: not `{old}`, but {new}", name.file, name.text)
    };
    let text: Vec<_> = wrong.iter().map(print).collect();
    assert!(wrong.is_empty(), "{}", text.join("\n"));
}

#[test]
fn no_type_is_a_participle() {
    let mut wrong = Vec::new();
    for name in all_names() {
        let is_known = PARTICIPLES.iter().any(|(known, _)| *known == name.text);
        if name.kind == Kind::Type && name.is_participle() && !is_known {
            wrong.push(format!("{}: `{}`", name.file, name.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_names_of_a_source_are_read() {
    let text = "pub(crate) async fn first() {}\n\
                mod second;\n\
                // struct Comment\n\
                pub struct Third<T> {\n    pub(crate) fourth: T,\n    fifth: u8,\n}\n\
                enum Sixth {\n    Seventh(u8),\n    Eighth { ninth: u8 },\n}\n\
                #[cfg(test)]\nmod tests {\n    fn hidden() {}\n}\n\
                const fn tenth() {}\n";
    let mut found = Vec::new();
    names("here", text, &mut found);
    let found: Vec<_> = found.iter().map(|name| &*name.text).collect();
    let expected = [
        "first", "second", "Third", "fourth", "fifth", "Sixth", "Seventh", "Eighth", "tenth",
    ];
    assert_eq!(found, expected);
}
