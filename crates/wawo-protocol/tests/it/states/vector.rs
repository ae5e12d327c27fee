//! The state vectors, as tests/vectors/README.md describes them. The tests of `wawo` share this file.

use std::{fs, path::Path};

use bytes::{BufMut, BytesMut};
use wawo_protocol::{CallId, Config, Side};

/// A sequence of packets, and its outcome.
#[derive(Debug, Clone)]
pub(crate) struct Vector {
    pub(crate) name: String,
    /// Whether the tester begins with its preface and an empty hello.
    pub(crate) has_opening: bool,
    /// Whether the tester answers pings.
    pub(crate) answers_pings: bool,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// The tester sends these bytes this many times. The words are those of the file.
    Send(usize, String),
    /// The tester ends its bytes.
    Finish,
    /// The side under test does this next.
    Gets(String),
}

/// A file of the folder of vectors.
pub(crate) fn read(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["tests/vectors", "../../tests/vectors"].map(|folder| root.join(folder));
    let text = folders
        .iter()
        .find_map(|folder| fs::read_to_string(folder.join(file)).ok());
    text.expect("the vectors are in the repository")
}

/// The lines of a text without comments, as keys and values; a group for each vector.
pub(crate) fn groups(text: &str) -> Vec<Vec<(&str, &str)>> {
    let mut groups = vec![Vec::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            groups.push(Vec::new());
            continue;
        }
        let (key, value) = line.split_once(':').expect("key: value");
        let last = groups.last_mut().expect("there is always one");
        last.push((key, value.trim()));
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// Formats bytes as the files of vectors have them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The settings of the side under test.
pub(crate) fn config() -> Config {
    let text = read("settings.txt");
    let settings = groups(&text).concat();
    let builder = settings
        .iter()
        .fold(Config::builder(), |builder, (name, value)| {
            builder.set(name, value).expect("a setting")
        });
    builder.build().expect("the settings agree")
}

/// All vectors that a live side can be tested with: sequences, and single packets that it refuses.
pub(crate) fn vectors() -> Vec<Vector> {
    let sequences = read("states.txt");
    let packets = read("invalid.txt");
    let sequences = groups(&sequences).into_iter().map(sequence);
    let packets = groups(&packets).into_iter().map(invalid_packet);
    let vectors: Vec<_> = sequences.chain(packets).collect();
    assert!(vectors.len() > 250, "the files hold all vectors");
    vectors
}

fn new(name: &str) -> Vector {
    Vector {
        name: name.to_owned(),
        has_opening: true,
        answers_pings: true,
        steps: Vec::new(),
    }
}

fn sequence(lines: Vec<(&str, &str)>) -> Vector {
    let mut vector = new(lines[0].1);
    for (key, value) in lines {
        let step = match (key, value) {
            ("opening", "no") => {
                vector.has_opening = false;
                continue;
            }
            ("pongs", "no") => {
                vector.answers_pings = false;
                continue;
            }
            ("name" | "rule" | "level", _) => continue,
            ("send", "eof") => Step::Finish,
            ("send", bytes) => Step::Send(1, bytes.to_owned()),
            ("flood", value) => {
                let (times, bytes) = value.split_once(' ').expect("a number and bytes");
                Step::Send(times.parse().expect("a number"), bytes.to_owned())
            }
            ("gets", event) => Step::Gets(event.to_owned()),
            other => panic!("{other:?} in {}", vector.name),
        };
        vector.steps.push(step);
    }
    vector
}

fn invalid_packet(lines: Vec<(&str, &str)>) -> Vector {
    let [(_, name), (_, bytes), (_, code), _] = lines[..] else {
        panic!("name, bytes, close and text: {lines:?}");
    };
    let mut vector = new(name);
    vector.steps.push(Step::Send(1, bytes.to_owned()));
    vector.steps.push(Step::Gets(format!("close {code}")));
    vector
}

/// Appends the bytes that words stand for; the tester has this side.
pub(crate) fn put_bytes(words: &str, tester: Side, out: &mut BytesMut) {
    for word in words.split_whitespace() {
        if let "TR" | "UR" = word {
            let connects = (tester == Side::Connecting) == (word == "TR");
            out.put_u8(if connects { 1 } else { 2 });
        } else if let Some(slot) = word.strip_prefix('T') {
            put_id(tester, slot, out);
        } else if let Some(slot) = word.strip_prefix('U') {
            put_id(tester.other(), slot, out);
        } else if let Some((byte, times)) = word.split_once('*') {
            out.put_bytes(hex_byte(byte), times.parse().expect("a number"));
        } else {
            let pairs = word.as_bytes().chunks(2);
            out.extend(pairs.map(|pair| hex_byte(str::from_utf8(pair).expect("ASCII"))));
        }
    }
}

fn put_id(side: Side, slot: &str, out: &mut BytesMut) {
    let slot = slot.parse().expect("the number of a slot");
    out.put_u32(CallId::new(side, slot).to_wire());
}

fn hex_byte(digits: &str) -> u8 {
    u8::from_str_radix(digits, 16).expect("two hexadecimal digits")
}
