//! Measures a message: one pass over its encoded bytes adds up the memory that decoding it takes.
//!
//! It never allocates, and goes no deeper than prost does. Where prost would fail, it stops, because the
//! rest is not decoded. Where it cannot be sure that prost fails, it goes on counting.

use crate::layout::{
    description::{Field, Kind, Layout},
    growth::{self, StepBytes},
};

/// How many messages may be nested: prost's limit.
const MAX_DEPTH: u32 = 100;

/// How many vectors and maps of a message have their elements counted.
const COUNTED_FIELDS: usize = 16;

/// The length of a vector or map beyond the counted ones: each of its additions is taken for one that
/// makes it grow. A counted field has this many elements only in a message of 4 GiB.
const UNCOUNTED: u32 = u32::MAX;

pub(crate) fn measure(layout: &Layout, mut bytes: &[u8]) -> usize {
    let mut sum = Sum::default();
    // Decoding a malformed message takes the memory of all fields before the fault.
    let _ = sum.message(layout, &mut bytes, MAX_DEPTH, None);
    layout
        .size
        .saturating_add(sum.kept)
        .saturating_add(sum.briefly)
}

impl Field {
    /// Whether the field is a message that may come once.
    fn is_single(&self) -> bool {
        matches!(self.kind, Kind::Nested | Kind::Boxed)
    }
}

#[derive(Debug, Default)]
struct Sum {
    kept: usize,
    /// The most that one step takes briefly. Collections grow one after the other, so the steps do not
    /// add up.
    briefly: usize,
}

/// How many elements each field has so far. For single messages, see [`Sum::merged`].
type Lengths = [u32; COUNTED_FIELDS];

/// The bytes cannot be decoded any further.
struct Malformed;

type Result<T> = std::result::Result<T, Malformed>;

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH: u64 = 2;
const START_GROUP: u64 = 3;
const END_GROUP: u64 = 4;
const FIXED_32: u64 = 5;

impl Sum {
    /// Adds up the fields of a message. It ends with the input, or with the end of its group.
    fn message(
        &mut self,
        layout: &Layout,
        input: &mut &[u8],
        depth: u32,
        group: Option<u64>,
    ) -> Result<()> {
        let mut lengths: Lengths = [0; COUNTED_FIELDS];
        let mut last = 0;
        while !input.is_empty() {
            let key = varint(input)?;
            let (number, wire) = (key >> 3, key & 7);
            if wire == END_GROUP {
                return match group == Some(number) {
                    true => Ok(()),
                    false => Err(Malformed),
                };
            }
            match find(layout.fields, number, last) {
                None => skip(number, wire, input, depth)?,
                Some(at) => {
                    last = at;
                    let field = &layout.fields[at];
                    let mut uncounted = match field.is_single() {
                        // It is taken for a field that has come before.
                        true => 1,
                        false => UNCOUNTED,
                    };
                    let length = lengths.get_mut(at).unwrap_or(&mut uncounted);
                    self.field(field, wire, input, depth, length)?;
                }
            }
        }
        match group {
            None => Ok(()),
            Some(_) => Err(Malformed),
        }
    }

    fn field(
        &mut self,
        field: &Field,
        wire: u64,
        input: &mut &[u8],
        depth: u32,
        length: &mut u32,
    ) -> Result<()> {
        let number = u64::from(field.number);
        match wire {
            LENGTH => {
                let taken = varint(input).and_then(|length| take(input, length));
                // prost adds the element before it reads the length, so it counts even if its bytes are
                // missing.
                self.add(field, taken.as_ref().map_or(&[], |bytes| *bytes), length);
                let mut bytes = taken?;
                match field.message {
                    Some(message) => self.inner(message, &mut bytes, depth, None, (field, length)),
                    None => Ok(()),
                }
            }
            START_GROUP => {
                self.add(field, &[], length);
                match field.message {
                    Some(message) => {
                        self.inner(message, input, depth, Some(number), (field, length))
                    }
                    None => skip(number, wire, input, depth),
                }
            }
            _ => {
                match field.kind {
                    Kind::Varints | Kind::Fixed => self.push(field, 1, length),
                    _ => self.add(field, &[], length),
                }
                skip(number, wire, input, depth)
            }
        }
    }

    /// Adds up the fields of the message in a field.
    fn inner(
        &mut self,
        message: &Layout,
        input: &mut &[u8],
        depth: u32,
        group: Option<u64>,
        (field, before): (&Field, &mut u32),
    ) -> Result<()> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Malformed);
        };
        let kept = self.kept;
        let result = self.message(message, input, depth, group);
        if field.is_single() {
            self.merged(self.kept - kept, before);
        }
        result
    }

    /// Adds the memory of a single message, which is merged into earlier ones of the same field. Its
    /// vectors grow on, and take at most three times their elements, although each message was counted
    /// from zero. `before` is the memory of the earlier messages plus one, until they were counted three
    /// times.
    fn merged(&mut self, kept: usize, before: &mut u32) {
        match *before {
            0 => *before = u32::try_from(kept).unwrap_or(u32::MAX - 1) + 1,
            earlier => {
                self.keep(2 * (earlier as usize - 1));
                self.keep(kept.saturating_mul(2));
                *before = 1;
            }
        }
    }

    /// Adds the memory of a field with these bytes, without that of the message in it.
    fn add(&mut self, field: &Field, bytes: &[u8], length: &mut u32) {
        match field.kind {
            Kind::Text => self.take(growth::text(bytes.len())),
            Kind::Texts => {
                self.push(field, 1, length);
                self.take(growth::text(bytes.len()));
            }
            Kind::Shared | Kind::Messages => self.push(field, 1, length),
            Kind::Varints => {
                let last_bytes = bytes.iter().filter(|byte| **byte < 0x80);
                self.push(field, last_bytes.count(), length);
            }
            Kind::Fixed => self.push(field, bytes.len() / field.size.max(1), length),
            Kind::Nested => {}
            // A boxed message that comes again is merged into the same box.
            Kind::Boxed if *length > 1 => {}
            Kind::Boxed => self.keep(field.size + growth::OVERHEAD),
            Kind::Map | Kind::AnyMap => {
                // Each entry of an uncounted map counts as a new table, which takes no less than the
                // entry adds to the map.
                let before = match *length {
                    UNCOUNTED => 0,
                    length => length as usize,
                };
                self.take(growth::map(before, field.size));
                if field.kind == Kind::AnyMap {
                    self.keep(growth::sorted_map(before, field.size));
                }
                *length = length.saturating_add(1);
            }
        }
        self.keep(field.default_bytes);
    }

    fn push(&mut self, field: &Field, elements: usize, length: &mut u32) {
        self.take(match *length {
            UNCOUNTED => growth::part_of_vector(elements, field.size),
            length => growth::vector(length as usize, elements, field.size),
        });
        // Each element has at least one byte, and no message has more bytes than this can count.
        *length = length.saturating_add(elements.try_into().unwrap_or(u32::MAX));
    }

    fn take(&mut self, taken: StepBytes) {
        self.keep(taken.kept);
        self.briefly = self.briefly.max(taken.briefly);
    }

    fn keep(&mut self, bytes: usize) {
        self.kept = self.kept.saturating_add(bytes);
    }
}

/// The index of the field with this number. Most often it is that of the last one, or the next.
fn find(fields: &[Field], number: u64, last: usize) -> Option<usize> {
    let is_it = |field: &Field| u64::from(field.number) == number;
    if fields.get(last).is_some_and(is_it) {
        return Some(last);
    }
    fields.iter().position(is_it)
}

/// Skips the value of a field.
fn skip(number: u64, wire: u64, input: &mut &[u8], depth: u32) -> Result<()> {
    match wire {
        VARINT => varint(input).map(drop),
        FIXED_64 => take(input, 8).map(drop),
        FIXED_32 => take(input, 4).map(drop),
        LENGTH => {
            let length = varint(input)?;
            take(input, length).map(drop)
        }
        START_GROUP if depth > 0 => loop {
            let key = varint(input)?;
            match (key >> 3, key & 7) {
                (inner, END_GROUP) if inner == number => return Ok(()),
                (_, END_GROUP) => return Err(Malformed),
                (inner, wire) => skip(inner, wire, input, depth - 1)?,
            }
        },
        _ => Err(Malformed),
    }
}

fn take<'a>(input: &mut &'a [u8], length: u64) -> Result<&'a [u8]> {
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (taken, rest) = input.split_at_checked(length).ok_or(Malformed)?;
    *input = rest;
    Ok(taken)
}

fn varint(input: &mut &[u8]) -> Result<u64> {
    const MAX_BYTES: usize = 10;
    let mut value = 0;
    for (at, byte) in input.iter().take(MAX_BYTES).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * at).min(63);
        if *byte < 0x80 {
            *input = &input[at + 1..];
            return Ok(value);
        }
    }
    Err(Malformed)
}
