//! Random encoded messages of a schema, most of which can be decoded.

use std::collections::HashMap;

use prost::Message;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

/// A generator of numbers from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `most`.
    fn below(&mut self, most: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % most
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// All messages, by the names that fields use for them.
pub(crate) struct Schema(HashMap<String, DescriptorProto>);

impl Schema {
    pub(crate) fn new(set: &[u8]) -> Self {
        let mut messages = HashMap::new();
        for file in FileDescriptorSet::decode(set).unwrap().file {
            let package = format!(".{}", file.package());
            for message in file.message_type {
                add(&package, message, &mut messages);
            }
        }
        Self(messages)
    }

    pub(crate) fn message(&self, random: &mut Random, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.fields(random, name, 4, &mut bytes);
        if random.one_in(20) {
            bytes.truncate(bytes.len() / 2);
        }
        bytes
    }

    fn fields(&self, random: &mut Random, name: &str, depth: u64, bytes: &mut Vec<u8>) {
        let fields = &self.0[name].field;
        if fields.is_empty() || random.one_in(3) {
            return;
        }
        for _ in 0..random.below(2 + 2 * depth) {
            if random.one_in(200) {
                // An unknown field.
                bytes.extend_from_slice(&[0xF8, 0x7F, 1]);
            }
            let field = &fields[random.below(fields.len() as u64) as usize];
            // Many elements make collections grow.
            let times = match (field.label(), random.one_in(4)) {
                (Label::Repeated, true) => random.below(40),
                _ => 1,
            };
            for _ in 0..times {
                self.field(random, field, depth, bytes);
            }
        }
    }

    fn field(
        &self,
        random: &mut Random,
        field: &FieldDescriptorProto,
        depth: u64,
        bytes: &mut Vec<u8>,
    ) {
        let key = |wire: u64| (field.number() as u64) << 3 | wire;
        match field.r#type() {
            Type::Message => {
                let mut inner = Vec::new();
                if depth > 0 {
                    self.fields(random, field.type_name(), depth - 1, &mut inner);
                }
                delimited(key(2), &inner, bytes);
            }
            Type::String | Type::Bytes => {
                let length = random.below(24) as usize;
                delimited(key(2), &vec![b'x'; length], bytes);
            }
            Type::Group => {
                varint(key(3), bytes);
                if depth > 0 {
                    self.fields(random, field.type_name(), depth - 1, bytes);
                }
                varint(key(4), bytes);
            }
            // Sometimes a packed field, sometimes at a size at which vectors grow.
            Type::Uint64 if random.one_in(2) => {
                let numbers = (1_usize << random.below(12)) + random.below(2) as usize;
                delimited(key(2), &vec![0; numbers], bytes);
            }
            Type::Double | Type::Fixed64 => {
                varint(key(1), bytes);
                bytes.extend_from_slice(&[0; 8]);
            }
            Type::Fixed32 => delimited(key(2), &vec![0; 4 * random.below(9) as usize], bytes),
            _ => {
                varint(key(0), bytes);
                varint(random.below(1 << 20), bytes);
            }
        }
    }
}

fn add(scope: &str, message: DescriptorProto, messages: &mut HashMap<String, DescriptorProto>) {
    let name = format!("{scope}.{}", message.name());
    for inner in &message.nested_type {
        add(&name, inner.clone(), messages);
    }
    messages.insert(name, message);
}

fn delimited(key: u64, content: &[u8], bytes: &mut Vec<u8>) {
    varint(key, bytes);
    varint(content.len() as u64, bytes);
    bytes.extend_from_slice(content);
}

fn varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
