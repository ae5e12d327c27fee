//! The description of a message's memory: the size of its type, and the fields that take memory of their
//! own.

use std::{fmt, sync::atomic::AtomicU32};

/// The memory that a message takes when it is decoded. Generated code has one for each message; a codec
/// gets it in [`Codec::decoded_bytes`](crate::Codec::decoded_bytes).
pub struct Layout {
    /// The bytes of the type itself, and those that its default value has on the heap.
    pub(super) size: usize,
    /// The fields that take memory of their own, by number.
    pub(super) fields: &'static [Field],
    /// Decoded bytes for each encoded byte, in the worst case; `UNKNOWN` until it is first computed.
    pub(super) worst: AtomicU32,
}

/// A field that takes memory of its own. For generated code.
pub struct Field {
    pub(super) number: u32,
    pub(super) kind: Kind,
    /// The bytes of an element, of an entry, or of the boxed message.
    pub(super) size: usize,
    /// The bytes that the default of that has on the heap: strings of proto2 with a default.
    pub(super) default_bytes: usize,
    /// The layout of the message in it, if that has such fields too.
    pub(super) message: Option<&'static Layout>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string, or bytes that are copied.
    Text,
    /// A vector of strings, or of bytes that are copied.
    Texts,
    /// A vector of `Bytes`, which share the buffer that they were read into.
    Shared,
    /// Numbers of 1 to 10 bytes, packed or not.
    Varints,
    /// Numbers of 4 or 8 bytes, packed or not.
    Fixed,
    /// A message that is stored in its parent.
    Nested,
    /// A message in a box.
    Boxed,
    /// Messages in a vector.
    Messages,
    /// Entries of a `HashMap`.
    Map,
    /// Entries of a `HashMap` or a `BTreeMap`.
    AnyMap,
}

/// The value of a factor that was not computed yet.
pub(super) const UNKNOWN: u32 = u32::MAX;

impl Layout {
    /// For generated code. `fields` are in the order of their numbers.
    #[doc(hidden)]
    pub const fn new(size: usize, fields: &'static [Field]) -> Self {
        Self {
            size,
            fields,
            worst: AtomicU32::new(UNKNOWN),
        }
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The fields are left out: a message may contain itself.
        let size = &self.size;
        f.debug_struct("Layout")
            .field("size", size)
            .finish_non_exhaustive()
    }
}

impl Field {
    const fn new(number: u32, kind: Kind, size: usize) -> Self {
        Self {
            number,
            kind,
            size,
            default_bytes: 0,
            message: None,
        }
    }

    /// `string x = number`, or `bytes` that are a `Vec<u8>`.
    pub const fn text(number: u32) -> Self {
        Self::new(number, Kind::Text, 0)
    }

    /// The same, `repeated`.
    pub const fn texts(number: u32) -> Self {
        Self::new(number, Kind::Texts, size_of::<String>())
    }

    /// `repeated bytes x = number` that are `Bytes`.
    pub const fn shared(number: u32) -> Self {
        Self::new(number, Kind::Shared, size_of::<bytes::Bytes>())
    }

    /// A repeated number of variable length, of `size` bytes in Rust.
    pub const fn varints(number: u32, size: usize) -> Self {
        Self::new(number, Kind::Varints, size)
    }

    /// A repeated number of 4 or 8 bytes.
    pub const fn fixed(number: u32, size: usize) -> Self {
        Self::new(number, Kind::Fixed, size)
    }

    /// A message within its parent.
    pub const fn nested(number: u32) -> Self {
        Self::new(number, Kind::Nested, 0)
    }

    /// A message in a box, of this size.
    pub const fn boxed(number: u32, size: usize) -> Self {
        Self::new(number, Kind::Boxed, size)
    }

    /// Messages of this size in a vector.
    pub const fn messages(number: u32, size: usize) -> Self {
        Self::new(number, Kind::Messages, size)
    }

    /// Entries of this size in a `HashMap`.
    pub const fn map(number: u32, size: usize) -> Self {
        Self::new(number, Kind::Map, size)
    }

    /// Entries of this size in a `HashMap` or a `BTreeMap`.
    pub const fn any_map(number: u32, size: usize) -> Self {
        Self::new(number, Kind::AnyMap, size)
    }

    /// Sets the layout of the message in it.
    pub const fn of(mut self, message: &'static Layout) -> Self {
        self.message = Some(message);
        self
    }

    /// Sets how many bytes the default of the message in it has on the heap.
    pub const fn with_default(mut self, bytes: usize) -> Self {
        self.default_bytes = bytes;
        self
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.number)
    }
}
