//! The key/value pairs that travel with a call.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use thiserror::Error;

/// Key/value pairs beside the message of a call, in the order in which they were added.
///
/// As in gRPC, a key is made of lower-case letters, digits, `-`, `_` and `.`; a value is printable
/// ASCII, or any bytes if the key ends in `-bin`. A key may occur more than once. An empty
/// `Metadata` allocates nothing.
///
/// `Debug` prints no value of a [secret](Self::is_secret) key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `None` if there are no entries. Most calls have none and are moved often, so this field is
    /// only a pointer.
    #[allow(clippy::box_collection, reason = "a vector is three times as large")]
    entries: Option<Box<Vec<Entry>>>,
}

type Entry = (Cow<'static, str>, Bytes);

/// Words in the keys of values that nobody may read in a log.
const SECRET_KEYS: [&str; 5] = ["authorization", "cookie", "token", "secret", "password"];

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (key, value) in self.iter() {
            match Self::is_secret(key) {
                true => map.entry(&key, &format_args!("..")),
                false => map.entry(&key, &value.escape_ascii().to_string()),
            };
        }
        map.finish()
    }
}

impl Metadata {
    /// No entries.
    pub const fn new() -> Self {
        Self { entries: None }
    }

    /// Whether a key is that of a secret, whose values no log shows: it contains `authorization`, `cookie`,
    /// `token`, `secret` or `password`.
    pub fn is_secret(key: &str) -> bool {
        SECRET_KEYS.iter().any(|word| key.contains(word))
    }

    /// Adds an entry, behind others of the same key.
    ///
    /// # Errors
    ///
    /// If the key or the value breaks a rule of the type; the error names it.
    pub fn append(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        value: impl Into<Bytes>,
    ) -> Result<(), MetadataError> {
        let (key, value) = (key.into(), value.into());
        check(&key, &value)?;
        self.entries.get_or_insert_default().push((key, value));
        Ok(())
    }

    /// Adds all entries of `other` behind those of this one.
    pub fn extend(&mut self, other: Self) {
        match (&mut self.entries, other.entries) {
            (_, None) => {}
            (Some(entries), Some(mut others)) => entries.append(&mut others),
            (entries @ None, others) => *entries = others,
        }
    }

    /// Removes all entries of a key, and returns the value of the first.
    pub fn remove(&mut self, key: &str) -> Option<Bytes> {
        let entries = self.entries.as_mut()?;
        let mut first = None;
        entries.retain_mut(|(candidate, value)| {
            let is_it = candidate == key;
            if is_it {
                first.get_or_insert_with(|| std::mem::take(value));
            }
            !is_it
        });
        if entries.is_empty() {
            self.entries = None;
        }
        first
    }

    /// The first text value of `key`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.bytes(key)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The first value of `key`, as bytes.
    pub fn bytes(&self, key: &str) -> Option<&Bytes> {
        self.iter()
            .find_map(|(candidate, value)| (candidate == key).then_some(value))
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        let entries = self.entries.iter().flat_map(|entries| entries.iter());
        entries.map(|(key, value)| (&**key, value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, |entries| entries.len())
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_none()
    }

    /// The size of the metadata block on the wire, in bytes (docs/protocol.md, "Metadata").
    pub fn encoded_len(&self) -> usize {
        2 + self
            .iter()
            .map(|(key, value)| 3 + key.len() + value.len())
            .sum::<usize>()
    }

    /// The size of the metadata block in a packet; 0 if there are no entries, since such a packet
    /// has no block.
    pub(crate) fn block_bytes(&self) -> usize {
        match self.is_empty() {
            true => 0,
            false => self.encoded_len(),
        }
    }
}

/// A rule that a metadata entry breaks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// An empty key, or one over 255 bytes.
    #[error("metadata key of {0} bytes; a key has 1 to 255")]
    KeyLength(usize),
    /// A key with a character that is not allowed.
    #[error("metadata key {0:?}: only a-z, 0-9, `-`, `_` and `.` may stand in a key")]
    KeyCharacter(String),
    /// A value over 65,535 bytes.
    #[error("metadata value of {length} bytes for key {key:?}; a value has at most 65535")]
    ValueLength {
        /// The key of the entry.
        key: String,
        /// The length of its value.
        length: usize,
    },
    /// A text value that is not printable ASCII.
    #[error(
        "metadata value of {0:?} is not printable ASCII; a key that ends in `-bin` takes any bytes"
    )]
    ValueCharacter(String),
}

fn check(key: &str, value: &[u8]) -> Result<(), MetadataError> {
    if key.is_empty() || key.len() > 255 {
        return Err(MetadataError::KeyLength(key.len()));
    }
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if !key.bytes().all(allowed) {
        return Err(MetadataError::KeyCharacter(key.to_owned()));
    }
    if value.len() > usize::from(u16::MAX) {
        return Err(MetadataError::ValueLength {
            key: key.to_owned(),
            length: value.len(),
        });
    }
    let printable = |byte: &u8| (0x20..=0x7e).contains(byte);
    if !key.ends_with("-bin") && !value.iter().all(printable) {
        return Err(MetadataError::ValueCharacter(key.to_owned()));
    }
    Ok(())
}
