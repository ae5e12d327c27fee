//! Typed messages to bytes and back.

pub(crate) mod buffer_pool;
mod linked;

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use wawo_protocol::MessageBytes;

use crate::{codec::linked::LinkedBuffer, layout::Layout, status::BoxError};

/// Turns messages of type `T` into bytes and back.
///
/// A codec is a value without content that generated code names once per service. It stands
/// between wawo and the message library, so that a second library can be added beside prost:
/// implement `Codec<T>` on a type of your own for the messages of that library.
#[diagnostic::on_unimplemented(
    message = "`{T}` is not a message that `{Self}` can encode",
    note = "messages are made from `.proto` files by `wawo_build::compile`"
)]
pub trait Codec<T>: Copy + Default + Send + Sync + Unpin + 'static {
    /// The bytes of a message.
    fn encode(self, message: &T) -> Bytes;

    /// The bytes of a message, perhaps in several pieces: cheaper where it has large parts. By
    /// default as [`encode`](Self::encode).
    fn encode_linked(self, message: &T) -> MessageBytes {
        self.encode(message).into()
    }

    /// Appends the bytes of a message to a buffer: cheaper where many follow each other. By default
    /// as [`encode`](Self::encode), with a copy.
    fn encode_to(self, message: &T, buffer: &mut BytesMut) {
        buffer.extend_from_slice(&self.encode(message));
    }

    /// The message in these bytes. Parts of it may share them.
    ///
    /// # Errors
    ///
    /// If the bytes are no such message.
    fn decode(self, bytes: Bytes) -> Result<T, BoxError>;

    /// How much memory [`decode`](Self::decode) takes at most for these bytes: of the heap, and for
    /// the message itself. Asked before a message is decoded, unless it is surely little, and held
    /// against `max_decoded_bytes` and its like of [`Config`](crate::Config). `layout` is that of the
    /// message, if the method has one. Default: the length of the bytes.
    fn decoded_bytes(self, bytes: &[u8], layout: Option<&'static Layout>) -> usize {
        let _ = layout;
        bytes.len()
    }

    /// Appends the message in these bytes, which are a part of `whole`, to others: cheaper where
    /// many follow each other. By default as [`decode`](Self::decode).
    ///
    /// # Errors
    ///
    /// If the bytes are no such message. Nothing is appended then.
    fn decode_to(
        self,
        bytes: &[u8],
        whole: &Bytes,
        messages: &mut VecDeque<T>,
    ) -> Result<(), BoxError> {
        messages.push_back(self.decode(whole.slice_ref(bytes))?);
        Ok(())
    }
}

/// Encodes and decodes the messages that prost generates. `bytes` fields share the buffer that
/// they were read into.
#[derive(Debug, Clone, Copy, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a marker that generated code names as a value"
)]
pub struct Prost;

#[diagnostic::do_not_recommend]
impl<T: prost::Message + Default> Codec<T> for Prost {
    fn encode(self, message: &T) -> Bytes {
        let length = message.encoded_len();
        match length < buffer_pool::LARGE_BYTES {
            true => small(message, length),
            false => buffer_pool::write(length, |buffer| message.encode_raw(buffer)),
        }
    }

    fn encode_linked(self, message: &T) -> MessageBytes {
        let length = message.encoded_len();
        if length < buffer_pool::LARGE_BYTES {
            return small(message, length).into();
        }
        let mut linked = LinkedBuffer::default();
        message.encode_raw(&mut linked);
        linked.into_message_bytes()
    }

    fn encode_to(self, message: &T, buffer: &mut BytesMut) {
        buffer.reserve(message.encoded_len());
        message.encode_raw(buffer);
    }

    fn decode(self, bytes: Bytes) -> Result<T, BoxError> {
        T::decode(bytes).map_err(BoxError::from)
    }

    fn decoded_bytes(self, bytes: &[u8], layout: Option<&'static Layout>) -> usize {
        layout.map_or(bytes.len(), |layout| layout.measure(bytes))
    }

    fn decode_to(
        self,
        bytes: &[u8],
        whole: &Bytes,
        messages: &mut VecDeque<T>,
    ) -> Result<(), BoxError> {
        // Decoded where it is to be: moving a message that was only just written is slow.
        messages.push_back(T::default());
        if let Some(message) = messages.back_mut()
            && let Err(error) = message.merge(Part { bytes, whole })
        {
            messages.pop_back();
            return Err(error.into());
        }
        Ok(())
    }
}

/// Takes encoded messages as they are, where no type of them is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RawBytes;

impl Codec<Bytes> for RawBytes {
    fn encode(self, message: &Bytes) -> Bytes {
        message.clone()
    }

    fn encode_to(self, message: &Bytes, buffer: &mut BytesMut) {
        buffer.extend_from_slice(message);
    }

    fn decode(self, bytes: Bytes) -> Result<Bytes, BoxError> {
        Ok(bytes)
    }
}

#[inline]
fn small(message: &impl prost::Message, length: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(length);
    message.encode_raw(&mut bytes);
    bytes.into()
}

/// Bytes that are read where they are, and shared only where a field keeps them.
struct Part<'a> {
    bytes: &'a [u8],
    whole: &'a Bytes,
}

impl Buf for Part<'_> {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes = &self.bytes[count..];
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        let (taken, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        self.whole.slice_ref(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::Bytes;

    use super::{Codec, Prost};

    #[test]
    fn a_bytes_field_is_a_part_of_what_it_was_read_from() {
        let sent = Bytes::from_static(b"hello");
        let whole = [Prost.encode(&sent), Prost.encode(&sent)].concat();
        let whole = Bytes::from(whole);
        let (_, second) = whole.split_at(whole.len() / 2);
        let mut read = VecDeque::<Bytes>::new();
        Prost.decode_to(second, &whole, &mut read).unwrap();
        assert_eq!(read, ["hello"]);
        assert!(whole.as_ptr_range().contains(&read[0].as_ptr()));
        // What cannot be decoded leaves no half of it.
        assert!(Prost.decode_to(&second[..3], &whole, &mut read).is_err());
        assert_eq!(read.len(), 1);
    }
}
