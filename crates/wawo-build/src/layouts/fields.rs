//! Computes the memory of a message's fields, as prost generates them.

use std::collections::BTreeSet;

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

use crate::{layouts::type_names::TypeNames, names, source::WELL_KNOWN};

/// The settings that decide the Rust types of fields.
pub(super) struct Fields {
    extern_paths: Vec<String>,
    is_plain: bool,
}

/// The static of the entries of a map.
pub(super) fn entry_static(place: usize, map: &FieldDescriptor) -> String {
    format!("M{place}_{}", map.number())
}

impl Fields {
    pub(super) fn new(extern_paths: Vec<String>, is_plain: bool) -> Self {
        Self {
            extern_paths,
            is_plain,
        }
    }

    /// Whether prost generates the fields of this message in the default way. If not, the most
    /// costly possibility counts: boxes, copies of bytes, sorted maps.
    fn is_known(&self, message: &MessageDescriptor) -> bool {
        self.is_plain
            && message.package_name() != WELL_KNOWN
            && !names::is_within(message.full_name(), &self.extern_paths)
    }

    /// Generates the constructor of a field; `None` if the field takes no memory beyond its
    /// message. `place` is the index of the message.
    pub(super) fn field(
        &self,
        field: &FieldDescriptor,
        place: usize,
        names: &TypeNames<'_>,
    ) -> Option<String> {
        let number = field.number();
        if field.is_map() {
            return Some(self.map(field, place, names));
        }
        let kind = field.kind();
        let is_copied = !self.is_known(field.parent_message());
        if let Kind::Message(inner) = &kind {
            return self.message(field, inner, names);
        }
        let constructor = match (field.is_list(), kind) {
            (false, Kind::String) => format!("text({number})"),
            (false, Kind::Bytes) if is_copied => format!("text({number})"),
            (false, _) => return None,
            (true, Kind::String) => format!("texts({number})"),
            (true, Kind::Bytes) if is_copied => format!("texts({number})"),
            (true, Kind::Bytes) => format!("shared({number})"),
            (true, Kind::Fixed32 | Kind::Sfixed32 | Kind::Float) => format!("fixed({number}, 4)"),
            (true, Kind::Fixed64 | Kind::Sfixed64 | Kind::Double) => format!("fixed({number}, 8)"),
            (true, Kind::Int64 | Kind::Sint64 | Kind::Uint64) => format!("varints({number}, 8)"),
            (true, Kind::Bool) => format!("varints({number}, 1)"),
            (true, _) => format!("varints({number}, 4)"),
        };
        Some(format!("Field::{constructor}"))
    }

    fn message(
        &self,
        field: &FieldDescriptor,
        inner: &MessageDescriptor,
        names: &TypeNames<'_>,
    ) -> Option<String> {
        let (number, size) = (field.number(), names.size_of(inner));
        let layout = self.have_memory(inner);
        // Each entry of a map begins with the default of its value, so that default counts there.
        let is_in_map = field.parent_message().is_map_entry();
        let default = self.default_bytes(inner, names).filter(|_| !is_in_map);
        let mut constructor = match (field.is_list(), self.is_boxed(field, inner)) {
            (true, _) => format!("Field::messages({number}, {size})"),
            (false, true) => format!("Field::boxed({number}, {size})"),
            (false, false) if layout || default.is_some() => format!("Field::nested({number})"),
            (false, false) => return None,
        };
        if layout {
            constructor += &format!(".of(&M{})", names.place(inner));
        }
        if let Some(bytes) = default {
            constructor += &format!(".with_default({bytes})");
        }
        Some(constructor)
    }

    fn map(&self, map: &FieldDescriptor, place: usize, names: &TypeNames<'_>) -> String {
        let kind = map.kind();
        let entry = kind.as_message();
        let parts = entry.map(|entry| entry.fields().collect::<Vec<_>>());
        let parts = parts.unwrap_or_default();
        let types = parts.iter().map(|part| rust_type(&part.kind(), names));
        let types = types.collect::<Vec<_>>().join(", ");
        let constructor = match self.is_known(map.parent_message()) {
            true => "map",
            false => "any_map",
        };
        let value = parts
            .last()
            .and_then(|part| part.kind().as_message().cloned());
        let default = value.and_then(|value| self.default_bytes(&value, names));
        let default = default.map_or(String::new(), |bytes| format!(".with_default({bytes})"));
        let (number, entry) = (map.number(), entry_static(place, map));
        format!(
            "Field::{constructor}({number}, codegen::size_of::<({types})>()).of(&{entry}){default}"
        )
    }

    /// Whether a message has fields that take memory of their own, at any depth.
    pub(super) fn have_memory(&self, message: &MessageDescriptor) -> bool {
        let is_copied = !self.is_known(message);
        kept_fields(message).any(|field| {
            let is_nested = |inner: &MessageDescriptor| {
                self.is_boxed(&field, inner) || self.have_memory(inner) || has_default(inner)
            };
            field.is_list()
                || field.is_map()
                || match &field.kind() {
                    Kind::String => true,
                    Kind::Bytes => is_copied,
                    // A boxed message may contain this one; a chain of messages without boxes ends.
                    Kind::Message(inner) => is_nested(inner),
                    _ => false,
                }
        })
    }

    /// Heap bytes of a message's default: those of required proto2 fields.
    pub(super) fn default_bytes(
        &self,
        message: &MessageDescriptor,
        names: &TypeNames<'_>,
    ) -> Option<String> {
        let mut terms = Vec::new();
        self.add_default(message, names, &mut BTreeSet::new(), &mut terms);
        (!terms.is_empty()).then(|| terms.join(" + "))
    }

    fn add_default(
        &self,
        message: &MessageDescriptor,
        names: &TypeNames<'_>,
        above: &mut BTreeSet<String>,
        terms: &mut Vec<String>,
    ) {
        // A message that requires itself has no default.
        if !above.insert(message.full_name().to_owned()) {
            return;
        }
        for field in kept_fields(message) {
            if field.cardinality() != Cardinality::Required {
                continue;
            }
            match field.kind() {
                Kind::String | Kind::Bytes => {
                    let default = field.field_descriptor_proto().default_value().len();
                    terms.extend((default > 0).then(|| (default + OVERHEAD).to_string()));
                }
                Kind::Message(inner) => {
                    // The default of a boxed field is a box, also in a cycle of known messages.
                    if self.is_boxed(&field, &inner) {
                        terms.push(format!("{} + {OVERHEAD}", names.size_of(&inner)));
                    }
                    self.add_default(&inner, names, above, terms);
                }
                _ => {}
            }
        }
        above.remove(message.full_name());
    }

    /// Whether a singular field is boxed. It must be if its type contains its message.
    fn is_boxed(&self, field: &FieldDescriptor, inner: &MessageDescriptor) -> bool {
        if field.is_list() {
            return false;
        }
        let outer = field.parent_message();
        if outer.is_map_entry() {
            return false;
        }
        !self.is_known(outer) || is_in(outer, inner)
    }
}

/// The estimated overhead of an allocator per allocation, in bytes.
const OVERHEAD: usize = 16;

/// The messages of `google/protobuf/descriptor.proto` that are missing in `prost-types`, which is
/// older than editions.
const NEWER_THAN_PROST_TYPES: [&str; 4] = [
    "google.protobuf.FeatureSet",
    "google.protobuf.FieldOptions.EditionDefault",
    "google.protobuf.FieldOptions.FeatureSupport",
    "google.protobuf.ExtensionRangeOptions.Declaration",
];

/// The fields of a message that its Rust type has. Decoding drops other fields.
pub(super) fn kept_fields(message: &MessageDescriptor) -> impl Iterator<Item = FieldDescriptor> {
    message.fields().filter(|field| match field.kind() {
        Kind::Message(inner) => !NEWER_THAN_PROST_TYPES.contains(&inner.full_name()),
        _ => true,
    })
}

/// Whether the default of a message may take heap memory.
fn has_default(message: &MessageDescriptor) -> bool {
    let mut fields = message.fields();
    fields.any(|field| field.cardinality() == Cardinality::Required)
}

/// Whether `inner` can contain `outer` through singular fields.
fn is_in(outer: &MessageDescriptor, inner: &MessageDescriptor) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![inner.clone()];
    while let Some(message) = next.pop() {
        if message == *outer {
            return true;
        }
        if seen.insert(message.full_name().to_owned()) {
            let single = kept_fields(&message).filter(|field| !field.is_list() && !field.is_map());
            next.extend(single.filter_map(|field| field.kind().as_message().cloned()));
        }
    }
    false
}

fn rust_type(kind: &Kind, names: &TypeNames<'_>) -> String {
    match kind {
        Kind::Double => "f64",
        Kind::Float => "f32",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Enum(_) => "i32",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "i64",
        Kind::Uint32 | Kind::Fixed32 => "u32",
        Kind::Uint64 | Kind::Fixed64 => "u64",
        Kind::Bool => "bool",
        Kind::String => "codegen::String",
        Kind::Bytes => "codegen::Bytes",
        Kind::Message(message) => names.path(message),
    }
    .to_owned()
}
