//! Codecs: they encode typed messages to bytes, and decode them.

pub(crate) mod buffer_pool;
mod linked;

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use wawo_protocol::MessageBytes;

use crate::{codec::linked::LinkedBuffer, layout::Layout, status::BoxError};

/// Encodes messages of type `T` to bytes, and decodes them.
///
/// A codec is a value without content, which generated code names once for each service. It stands
/// between wawo and the message library, so that a second library can be used beside prost: implement
/// `Codec<T>` on a type of your own for the messages of that library.
#[diagnostic::on_unimplemented(
    message = "`{T}` is not a message that `{Self}` can encode",
    note = "messages are made from `.proto` files by `wawo_build::compile`"
)]
pub trait Codec<T>: Copy + Default + Send + Sync + Unpin + 'static {
    /// Encodes a message.
    fn encode(self, message: &T) -> Bytes;

    /// Encodes a message, perhaps in several parts, which is cheaper for a message with large fields. By
    /// default the same as [`encode`](Self::encode).
    fn encode_linked(self, message: &T) -> MessageBytes {
        self.encode(message).into()
    }

    /// Encodes a message to the end of a buffer, which is cheaper for many messages in a row. By default
    /// [`encode`](Self::encode) and a copy.
    fn encode_to(self, message: &T, buffer: &mut BytesMut) {
        buffer.extend_from_slice(&self.encode(message));
    }

    /// Decodes a message. Its fields may share the bytes.
    ///
    /// # Errors
    ///
    /// If the bytes are not such a message.
    fn decode(self, bytes: Bytes) -> Result<T, BoxError>;

    /// How much memory [`decode`](Self::decode) takes at most for these bytes: on the heap, and for the
    /// message itself. It is called before a message is decoded, unless that surely takes little, and
    /// compared with `max_decoded_bytes` and similar limits of [`Config`](crate::Config). `layout` is
    /// that of the message, if the method has one. Default: the length of the bytes.
    fn decoded_bytes(self, bytes: &[u8], layout: Option<&'static Layout>) -> usize {
        let _ = layout;
        bytes.len()
    }

    /// Decodes a message, whose `bytes` are a part of `whole`, to the end of a queue, which is cheaper
    /// for many messages in a row. By default [`decode`](Self::decode).
    ///
    /// # Errors
    ///
    /// If the bytes are not such a message. Nothing is appended then.
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
        // The message is decoded in its final place, because moving a message that was only just written
        // is slow.
        messages.push_back(T::default());
        if let Some(message) = messages.back_mut()
            && let Err(error) = message.merge(BytesPart { bytes, whole })
        {
            messages.pop_back();
            return Err(error.into());
        }
        Ok(())
    }
}

/// Passes encoded messages through, where their type is not known.
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

/// A part of a buffer. Fields are read from it without a copy; the buffer is shared only where a field
/// keeps bytes.
struct BytesPart<'a> {
    bytes: &'a [u8],
    whole: &'a Bytes,
}

impl Buf for BytesPart<'_> {
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
        // A message that cannot be decoded leaves nothing in the queue.
        assert!(Prost.decode_to(&second[..3], &whole, &mut read).is_err());
        assert_eq!(read.len(), 1);
    }
}
