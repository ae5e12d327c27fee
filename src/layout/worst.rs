//! Computes how many decoded bytes an encoded byte can become.
//!
//! All decoded memory belongs to fields, and fields do not overlap on the wire. So the worst case of a
//! message is the worst case of any field that can be in it, at any depth.

use crate::layout::{
    description::{Field, Kind, Layout},
    growth::{self, OVERHEAD, least_capacity},
};

/// The factor of a message. It visits each type of message that can be in it once.
pub(crate) fn of(layout: &Layout) -> u32 {
    let mut seen = vec![layout];
    let (mut next, mut worst) = (0, 0);
    while let Some(layout) = seen.get(next).copied() {
        next += 1;
        for field in layout.fields {
            worst = worst.max(of_field(field));
            let inner = field.message;
            let is_known = |inner: &Layout| seen.iter().any(|other| std::ptr::eq(*other, inner));
            seen.extend(inner.filter(|inner| !is_known(inner)));
        }
    }
    worst.try_into().unwrap_or(u32::MAX)
}

/// How many bytes a field takes on the wire, at least: its key, and a length or a value.
const LEAST_FIELD: usize = 2;

/// A growing vector briefly takes three times its elements; its first allocation has room for a few more.
const VECTOR_GROWTH: usize = 3;

fn of_field(field: &Field) -> usize {
    let size = field.size;
    let first = least_capacity(size).max(VECTOR_GROWTH) * size + OVERHEAD;
    let entry = growth::map(0, size).kept;
    let bytes = match field.kind {
        // A string of one letter has three bytes on the wire.
        Kind::Text => return 9,
        // A packed element takes one byte on the wire; a packed field also has a length.
        Kind::Varints => first.max(LEAST_FIELD * VECTOR_GROWTH * size),
        Kind::Texts | Kind::Shared | Kind::Fixed | Kind::Messages => first,
        Kind::Nested => 0,
        Kind::Boxed => size + OVERHEAD,
        Kind::Map => entry,
        Kind::AnyMap => entry + growth::sorted_map(0, size),
    };
    (bytes + field.default_bytes).div_ceil(LEAST_FIELD)
}

#[cfg(test)]
mod tests {
    use crate::layout::{Field, Layout};

    static INNER: Layout = Layout::new(0, &[Field::text(1), Field::messages(2, 40).of(&OUTER)]);
    static OUTER: Layout = Layout::new(
        500,
        &[Field::boxed(1, 500).of(&OUTER), Field::varints(2, 8)],
    );

    /// Each kind of field, with its shortest encoding and a longer one.
    const FIELDS: [(Field, [&[u8]; 2]); 11] = [
        (
            Field::text(1),
            [&[10, 1, b'a'], &[10, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8]],
        ),
        (Field::texts(1), [&[10, 0], &[10, 1, b'a']]),
        (Field::shared(1), [&[10, 0], &[10, 1, b'a']]),
        (Field::varints(1, 8), [&[8, 0], &[10, 4, 0, 0, 0, 0]]),
        (Field::varints(1, 1), [&[8, 0], &[10, 4, 0, 0, 0, 0]]),
        (
            Field::fixed(1, 4),
            [&[13, 0, 0, 0, 0], &[10, 4, 0, 0, 0, 0]],
        ),
        (
            Field::nested(1).with_default(60).of(&INNER),
            [&[10, 0], &[10, 2, 18, 0]],
        ),
        (Field::boxed(1, 900), [&[10, 0], &[10, 1, 8]]),
        (
            Field::messages(1, 100).of(&OUTER),
            [&[10, 0], &[10, 2, 16, 0]],
        ),
        (Field::messages(1, 5_000), [&[10, 0], &[10, 0]]),
        (
            Field::map(1, 24).of(&INNER),
            [&[10, 0], &[10, 3, 10, 1, b'a']],
        ),
    ];

    #[test]
    fn no_message_takes_more_than_its_worst() {
        for (field, wire) in FIELDS {
            let name = format!("{field:?}");
            let fields: &'static [Field] = Box::leak(Box::new([field]));
            let layout = Layout::new(70, fields);
            let worst = super::of(&layout) as usize;
            for bytes in wire {
                // The measure of single messages that come again is larger, so they come once here.
                let times = if layout.fields[0].message.is_some() {
                    1
                } else {
                    1_000
                };
                for times in 1..=times {
                    let bytes = bytes.repeat(times);
                    let (told, most) = (layout.measure(&bytes), 70 + worst * bytes.len());
                    assert!(told <= most, "{name} {times}: {told} told, {most} at most");
                }
            }
            let length = 1_000;
            let most = 70 + (worst * length) as u64;
            assert!(layout.takes_at_most(most, length) && !layout.takes_at_most(most - 1, length));
        }
    }

    #[test]
    fn messages_that_have_themselves_in_them_have_a_worst() {
        assert_eq!(super::of(&OUTER), (500_u32 + 16).div_ceil(2));
        assert_eq!(super::of(&INNER), (500_u32 + 16).div_ceil(2));
    }
}
