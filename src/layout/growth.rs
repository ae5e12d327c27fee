//! How the collections of std grow. While one grows, the old and the new memory exist together.

/// How many bytes an allocator needs for itself for each allocation, approximately.
pub(crate) const OVERHEAD: usize = 16;

/// The memory that a step of decoding takes: the part that stays, and the part that it takes briefly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StepBytes {
    pub(crate) kept: usize,
    pub(crate) briefly: usize,
}

/// The first capacity of a vector of elements of this size; it doubles from there.
pub(crate) const fn least_capacity(size: usize) -> usize {
    match size {
        0..=1 => 8,
        2..=1024 => 4,
        _ => 1,
    }
}

/// The memory for elements added to a vector of `length` elements.
pub(crate) fn vector(length: usize, added: usize, size: usize) -> StepBytes {
    let capacity = |length: usize| match length {
        0 => 0,
        length => length.next_power_of_two().max(least_capacity(size)),
    };
    let (before, after) = (capacity(length), capacity(length + added));
    grown(before, after, least_capacity(size), size, OVERHEAD)
}

/// The memory for elements added to a vector of unknown length. The sum over all additions is enough for
/// a vector with less than twice its elements, and an old one of half that size beside it.
pub(crate) fn part_of_vector(added: usize, size: usize) -> StepBytes {
    let kept = match added {
        0 => 0,
        _ => {
            let elements = added.saturating_mul(3).max(least_capacity(size));
            elements.saturating_mul(size).saturating_add(OVERHEAD)
        }
    };
    StepBytes { kept, briefly: 0 }
}

/// The memory for one entry added to a hash map of `length` entries.
pub(crate) fn map(length: usize, size: usize) -> StepBytes {
    /// The control bytes at the end of a table.
    const GROUP: usize = 16;
    let buckets = |length: usize| match length {
        0 => 0,
        1..=3 => 4,
        4..=7 => 8,
        // A table is full when seven eighths of its buckets are used.
        length => (length * 8 / 7).next_power_of_two().max(16),
    };
    let (before, after) = (buckets(length), buckets(length + 1));
    // Each bucket has a control byte.
    grown(before, after, 4, size + 1, OVERHEAD + 2 * GROUP)
}

/// How many bytes one entry in a `BTreeMap` of `length` entries takes more than in a hash map. Its nodes
/// have room for eleven entries, and hold at least five, except for the first.
pub(crate) fn sorted_map(length: usize, size: usize) -> usize {
    let first = match length {
        0 => 8 * size + OVERHEAD,
        _ => 0,
    };
    first + 2 * size + 12
}

/// The memory of a growing collection whose capacity doubles from `first` elements.
fn grown(before: usize, after: usize, first: usize, size: usize, overhead: usize) -> StepBytes {
    if before == after {
        return StepBytes::default();
    }
    let overhead = match before {
        0 => overhead,
        _ => 0,
    };
    // The allocation before the last.
    let old = match after > first {
        true => after / 2,
        false => 0,
    };
    StepBytes {
        kept: ((after - before) * size).saturating_add(overhead),
        briefly: old * size,
    }
}

/// The memory of a string. If a field comes again, its new memory is taken before the old is released.
pub(crate) fn text(length: usize) -> StepBytes {
    match length {
        0 => StepBytes::default(),
        length => StepBytes {
            kept: length.next_multiple_of(8) + OVERHEAD,
            briefly: length,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{StepBytes, map, part_of_vector, vector};

    #[test]
    fn a_vector_doubles_from_its_least_capacity() {
        let (mut vec, mut kept) = (Vec::<u64>::new(), 0);
        for length in 0..1_000 {
            kept += vector(length, 1, 8).kept;
            vec.push(7);
            assert_eq!(kept - 16, vec.capacity() * 8, "{length}");
        }
        let many = vector(3, 1_000, 8);
        assert_eq!(
            many,
            StepBytes {
                kept: (1_024 - 4) * 8,
                briefly: 512 * 8
            }
        );
        assert_eq!(vector(0, 1, 2_000).kept, 2_016);
        assert_eq!(vector(0, 1, 1).kept, 8 + 16);
    }

    #[test]
    fn parts_of_a_vector_are_enough_however_it_grew() {
        for size in [1, 8, 2_000] {
            for (first, more) in [
                (0, 5_000),
                (1, 9),
                (4, 1),
                (1_024, 1),
                (1_023, 2),
                (65_536, 3),
            ] {
                let whole = vector(0, first, size);
                let (mut kept, mut briefly) = (whole.kept, whole.briefly);
                let mut told = part_of_vector(first, size).kept;
                for length in first..first + more {
                    let one = vector(length, 1, size);
                    kept += one.kept;
                    briefly = briefly.max(one.briefly);
                    told += part_of_vector(1, size).kept;
                    let taken = kept + briefly;
                    assert!(told >= taken, "{first} and more of {size}: {told}, {taken}");
                }
            }
        }
        assert_eq!(part_of_vector(0, 8), StepBytes::default());
    }

    #[test]
    fn a_map_is_full_at_seven_eighths() {
        let (mut std, mut kept) = (std::collections::HashMap::new(), 0);
        for length in 0..10_000_usize {
            kept += map(length, 8).kept;
            std.insert(length, ());
            // `capacity` is less than the number of buckets, each of which has one byte more.
            assert!(kept >= std.capacity() * 9 + 16, "{length}");
        }
    }
}
