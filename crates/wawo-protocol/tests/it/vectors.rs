//! The golden vectors of the repository, in both directions: decoding and encoding.

use std::{collections::HashSet, fs, path::Path};

use bytes::{Bytes, BytesMut};
use wawo_protocol::{
    Fingerprint, Hello, Limits, Metadata, MethodId, ServiceId, Shape, Side,
    packet::{Chunk, CreditOf, Packet, decode},
};

use crate::states::vector::{groups, hex, read};

/// The vectors in a file: lines of `key: value`.
fn vectors(file: &str) -> Vec<Vec<(String, String)>> {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    groups(&read(file))
        .into_iter()
        .map(|lines| lines.into_iter().map(owned).collect())
        .collect()
}

fn bytes(text: &str) -> BytesMut {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("hexadecimal")
    };
    digits.chunks(2).map(byte).collect()
}

/// The meaning of a packet, as the vectors write it.
#[derive(Default)]
struct Meaning(Vec<(String, String)>);

impl Meaning {
    fn add(&mut self, key: &str, value: impl ToString) {
        self.0.push((key.to_owned(), value.to_string()));
    }

    fn add_some(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.add(key, value);
        }
    }

    fn add_if(&mut self, key: &str, holds: bool) {
        if holds {
            self.add(key, "yes");
        }
    }

    fn add_text(&mut self, key: &str, text: &str) {
        self.add_some(key, (!text.is_empty()).then_some(text));
    }

    fn add_bytes(&mut self, key: &str, bytes: &Bytes) {
        self.add_text(key, &hex(bytes));
    }

    fn add_metadata(&mut self, metadata: &Metadata) {
        for (key, value) in metadata.iter() {
            self.add("metadata", format!("{key} = {}", hex(value)));
        }
    }

    fn add_chunk(&mut self, chunk: &Chunk) {
        self.add_some("total", chunk.total);
        self.add("message", hex(&chunk.bytes));
        self.add_if("more", chunk.more);
        self.add_if("end", chunk.end);
    }

    fn add_hello(&mut self, hello: &Hello) {
        let limits = hello.limits;
        self.add("max_packet_bytes", limits.max_packet_bytes);
        self.add("max_message_bytes", limits.max_message_bytes);
        self.add("max_metadata_bytes", limits.max_metadata_bytes);
        self.add("max_metadata_entries", limits.max_metadata_entries);
        self.add("max_calls", limits.max_calls);
        self.add("initial_credit_bytes", limits.initial_credit_bytes);
        self.add("request_credit_bytes", limits.request_credit_bytes);
        self.add("reply_credit_bytes", limits.reply_credit_bytes);
        let timeout = hello.default_timeout.map(|timeout| timeout.as_millis());
        self.add_some("default_timeout_ms", timeout);
        self.add_text("claimed_name", &hello.claimed_name);
        self.add_bytes("credentials", &hello.credentials);
        self.add_bytes("services", &hello.services);
        self.add_some("features", Some(hello.features).filter(|bits| *bits != 0));
        let role = hello.role.map(|side| match side {
            Side::Connecting => 1,
            Side::Accepting => 2,
        });
        self.add_some("role", role);
        let keep_alive = hello.keep_alive.map(|interval| interval.as_millis());
        self.add_some("keep_alive_ms", keep_alive);
    }
}

fn meaning(packet: &Packet) -> Vec<(String, String)> {
    let mut meaning = Meaning::default();
    meaning.add("kind", packet.kind());
    match packet {
        Packet::Hello(hello) => meaning.add_hello(hello),
        Packet::Move(relocation) => {
            meaning.add("not_before_ms", relocation.not_before().as_millis());
            meaning.add("not_after_ms", relocation.not_after().as_millis());
            meaning.add_text("address", relocation.address());
        }
        Packet::Unknown(kind) => meaning.add("number", kind),
        Packet::Ping(data) | Packet::Pong(data) => meaning.add("data", format!("{data:016x}")),
        Packet::Drain { accepted } => meaning.add("accepted", accepted),
        Packet::Close { code, text } => {
            meaning.add("code", code.to_wire());
            meaning.add_text("text", text);
        }
        Packet::Call(call) => {
            meaning.add_some("call", call.call);
            meaning.add("service", call.service);
            meaning.add("method", call.method);
            meaning.add_if("one_way", call.one_way);
            meaning.add_some("timeout_ms", call.timeout_ms);
            meaning.add_metadata(&call.metadata);
            call.chunk.iter().for_each(|chunk| meaning.add_chunk(chunk));
        }
        Packet::Reply(reply) => {
            meaning.add("call", reply.call);
            meaning.add_metadata(&reply.metadata);
            reply
                .chunk
                .iter()
                .for_each(|chunk| meaning.add_chunk(chunk));
        }
        Packet::Message {
            call,
            chunk,
            continues,
        } => {
            meaning.add("call", call);
            meaning.add_if("continues", *continues);
            meaning.add_chunk(chunk);
        }
        Packet::End(end) => {
            meaning.add("call", end.call);
            meaning.add("code", end.code.to_wire());
            meaning.add_if("refused", end.refused);
            meaning.add_metadata(&end.metadata);
            meaning.add_text("text", &end.text);
            meaning.add_bytes("details", &end.details);
        }
        Packet::Cancel(call) => meaning.add("call", call),
        Packet::Credit { of, bytes } => {
            match of {
                CreditOf::Call(call) => meaning.add("call", call),
                CreditOf::Requests => meaning.add("of", "requests"),
                CreditOf::Replies => meaning.add("of", "replies"),
            }
            meaning.add("bytes", bytes);
        }
    }
    meaning.0
}

#[test]
fn each_vector_means_what_it_says_and_is_written_back_the_same() {
    let vectors = vectors("packets.txt");
    assert!(vectors.len() > 30);
    for vector in vectors {
        let [(_, name), (_, text), said @ ..] = &vector[..] else {
            panic!("a vector begins with name and bytes: {vector:?}");
        };
        let sent = bytes(text);
        let mut input = sent.clone();
        let packet = decode(&mut input, &Limits::default());
        let packet = packet.unwrap_or_else(|error| panic!("{name}: {error}"));
        let packet = packet.unwrap_or_else(|| panic!("{name}: not whole"));
        assert!(input.is_empty(), "{name}");
        let (read_only, said) = match said {
            [(key, _), said @ ..] if key == "written" => (true, said),
            said => (false, said),
        };
        assert_eq!(meaning(&packet), said, "{name}");
        let mut written = BytesMut::new();
        packet.encode(&mut written);
        assert!(read_only || written == sent, "{name}: {}", hex(&written));
    }
}

#[test]
fn each_invalid_vector_is_refused_with_its_code_and_text() {
    let vectors = vectors("invalid.txt");
    assert!(vectors.len() > 20);
    for vector in vectors {
        let [(_, name), (_, text), (_, code), (_, error)] = &vector[..] else {
            panic!("name, bytes, close and text: {vector:?}");
        };
        let refused = decode(&mut bytes(text), &Limits::default()).expect_err(name);
        assert_eq!(refused.to_string(), *error, "{name}");
        assert_eq!(refused.close_code().to_wire().to_string(), *code, "{name}");
    }
}

/// The names and lines of a vector of ids, and the number that follows from them.
#[test]
fn ids_and_fingerprints_follow_from_names() {
    let vectors = vectors("ids.txt");
    assert!(vectors.len() > 5);
    for vector in vectors {
        let [(kind, first), lines @ ..] = &vector[..] else {
            panic!("a vector has lines");
        };
        let found = match &**kind {
            "service" => format!("{:08x}", ServiceId::of(first).0),
            "method" => format!("{:08x}", MethodId::of(first).0),
            _ => {
                assert_eq!(fingerprint(lines), *first);
                continue;
            }
        };
        assert_eq!([("id".to_owned(), found)], lines);
    }
}

/// The fingerprint of a service from the lines that are hashed.
fn fingerprint(lines: &[(String, String)]) -> String {
    let mut fingerprint = Fingerprint::new(&lines[0].1);
    for (_, line) in &lines[1..] {
        let parts: Vec<_> = line.split('|').collect();
        let [name, id, shape, request, reply] = parts[..] else {
            panic!("five parts: {line}");
        };
        let id = MethodId(id.parse().expect("a number"));
        let shapes = [
            Shape::Unary,
            Shape::ServerStreaming,
            Shape::ClientStreaming,
            Shape::BidiStreaming,
            Shape::OneWay,
        ];
        let shape = shapes.into_iter().find(|other| other.name() == shape);
        fingerprint.add_method(name, id, shape.expect("a shape"), request, reply);
    }
    format!("{:016x}", fingerprint.value())
}

/// The vectors themselves are run in `states.rs`.
#[test]
fn each_state_vector_has_a_name_of_its_own_and_the_heading_of_its_rule() {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    let text = fs::read_to_string(text).expect("the text is in the repository");
    let headings: HashSet<_> = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("## ")
                .or_else(|| line.strip_prefix("### "))
        })
        .collect();
    let mut names = HashSet::new();
    for vector in vectors("states.txt") {
        let [(_, name), (_, rule), ..] = &vector[..] else {
            panic!("a vector begins with name and rule: {vector:?}");
        };
        assert!(headings.contains(&**rule), "{name}: no heading {rule}");
        assert!(names.insert(name.clone()), "{name}: twice");
    }
}

#[test]
fn vectors_are_read_without_comments_and_with_either_kind_of_line_ends() {
    let text = "# a comment\n\nname: a\n# another\nbytes: 00 # and one more\n\nname: b\n";
    let vectors = groups(text);
    assert_eq!(
        vectors,
        [vec![("name", "a"), ("bytes", "00")], vec![("name", "b")]]
    );
    assert_eq!(groups(&text.replace('\n', "\r\n")), vectors);
}
