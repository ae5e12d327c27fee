//! One pass over an encoded message, which adds up what decoding it takes.
//!
//! It never allocates, and goes no deeper than prost does. Where prost would fail, it stops: what
//! follows is not decoded. Where only it is in doubt, it goes on, and counts.

use crate::layout::{
    description::{Field, Kind, Layout},
    growth::{self, StepBytes},
};

/// prost goes no deeper.
const MAX_DEPTH: u32 = 100;

/// The vectors and maps of a message whose elements are counted.
const COUNTED_FIELDS: usize = 16;

/// The length of a vector or a map of a further field: each time, it is taken for one that will grow.
/// A field that is counted has this many elements only in a message of 4 GiB.
const UNCOUNTED: u32 = u32::MAX;

pub(crate) fn measure(layout: &Layout, mut bytes: &[u8]) -> usize {
    let mut sum = Sum::default();
    // A message that is broken off takes what came before.
    let _ = sum.message(layout, &mut bytes, MAX_DEPTH, None);
    layout
        .size
        .saturating_add(sum.kept)
        .saturating_add(sum.briefly)
}

impl Field {
    /// Whether it is a message that may stand once.
    fn is_single(&self) -> bool {
        matches!(self.kind, Kind::Nested | Kind::Boxed)
    }
}

#[derive(Debug, Default)]
struct Sum {
    kept: usize,
    /// The most that any one of them takes for a moment: they grow one after the other.
    briefly: usize,
}

/// How many elements each field has so far; of single messages, see [`Sum::merged`].
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
    /// Adds up the fields of a message, which ends with the input, or with the end of its group.
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
                        // As if it had come before.
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
                // An element that is there before the length is looked at is there without bytes too.
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

    /// Adds up the message in a field.
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

    /// A message that may stand once, and comes again, is merged into the first: vectors grow on,
    /// to three times their elements at most, whose counts began anew. `before` is one more than
    /// what those before it took, if they were not taken three times yet.
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

    /// The memory that a field with these bytes takes, apart from the fields within.
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
            // One that comes again is merged into the same box.
            Kind::Boxed if *length > 1 => {}
            Kind::Boxed => self.keep(field.size + growth::OVERHEAD),
            Kind::Map | Kind::AnyMap => {
                // A table with a single entry has room enough for the growth of one.
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
        // No message has more bytes than this counts, and each element costs one at least.
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

/// The place of the field with this number: most often that of the last one, or the next.
fn find(fields: &[Field], number: u64, last: usize) -> Option<usize> {
    let is_it = |field: &Field| u64::from(field.number) == number;
    if fields.get(last).is_some_and(is_it) {
        return Some(last);
    }
    fields.iter().position(is_it)
}

/// Steps over the value of a field.
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
