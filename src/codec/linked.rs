//! A buffer for an encoder that does not copy large fields: it makes the message of several parts.

use bytes::{Buf, BufMut, Bytes, BytesMut, buf::UninitSlice};
use wawo_protocol::MessageBytes;

use crate::codec::buffer_pool;

/// A field of this length in bytes or more becomes a part of its own; shorter ones are gathered into
/// parts.
const LINK_BYTES: usize = 8 * 1024;

/// Gathered bytes become a part at this length: a single buffer would grow by doubling, and be copied
/// each time.
const PART_BYTES: usize = 64 * 1024;

/// The buffer for an encoder. Large `bytes` fields are shared, not copied.
#[derive(Debug, Default)]
pub(crate) struct LinkedBuffer {
    parts: Vec<Bytes>,
    tail: BytesMut,
}

impl LinkedBuffer {
    /// The message that was written.
    pub(crate) fn into_message_bytes(mut self) -> MessageBytes {
        self.end_part();
        self.parts.into_iter().collect()
    }

    fn end_part(&mut self) {
        if !self.tail.is_empty() {
            self.parts.push(self.tail.split().freeze());
        }
    }
}

// SAFETY: the room is that of `tail`, a `BytesMut`; all three functions pass through to it unchanged.
#[allow(unsafe_code, reason = "`BufMut` is an unsafe trait")]
unsafe impl BufMut for LinkedBuffer {
    fn remaining_mut(&self) -> usize {
        self.tail.remaining_mut()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller has written `count` bytes to the room that `chunk_mut` returned.
        unsafe { self.tail.advance_mut(count) }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        self.tail.chunk_mut()
    }

    fn put<B: Buf>(&mut self, mut part: B) {
        let length = part.remaining();
        // Only `Bytes` are taken without a copy. `copy_to_bytes` copies any other type of the same size
        // into memory of its own.
        if length >= LINK_BYTES && size_of::<B>() == size_of::<Bytes>() {
            self.end_part();
            self.parts.push(part.copy_to_bytes(length));
            return;
        }
        while part.has_remaining() {
            let chunk = part.chunk();
            let length = chunk.len();
            self.put_slice(chunk);
            part.advance(length);
        }
    }

    fn put_slice(&mut self, part: &[u8]) {
        if part.len() >= buffer_pool::LARGE_BYTES {
            self.end_part();
            let write = |buffer: &mut BytesMut| buffer.extend_from_slice(part);
            self.parts.push(buffer_pool::write(part.len(), write));
            return;
        }
        self.tail.extend_from_slice(part);
        if self.tail.len() >= PART_BYTES {
            self.end_part();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Buf, BufMut, Bytes};

    use super::{LINK_BYTES, LinkedBuffer, PART_BYTES};
    use crate::codec::buffer_pool::LARGE_BYTES;

    #[test]
    fn what_is_written_comes_out_and_large_bytes_stay_where_they_are() {
        let (large, small) = (Bytes::from(vec![1; LINK_BYTES]), Bytes::from_static(b"abc"));
        let slice = [2; LARGE_BYTES];
        let mut linked = LinkedBuffer::default();
        linked.put_u8(7);
        linked.put(large.clone());
        linked.put(small.clone());
        linked.put(&slice[..]);
        linked.put_slice(&slice[..5]);
        linked.put(small.chain(large.clone()));
        // The room of a buffer can be written directly too.
        linked.chunk_mut()[..1].copy_from_slice(b"z");
        #[allow(unsafe_code, reason = "a test of an unsafe trait")]
        // SAFETY: one byte was written.
        unsafe {
            linked.advance_mut(1);
        }
        let parts = linked.parts.clone();
        assert!(parts.iter().any(|part| part.as_ptr() == large.as_ptr()));
        let expected = [
            &[7],
            &large[..],
            b"abc",
            &slice,
            &slice[..5],
            b"abc",
            &large,
            b"z",
        ];
        assert_eq!(linked.into_message_bytes().into_bytes(), expected.concat());
    }

    #[test]
    fn many_small_parts_are_many_pieces() {
        let mut linked = LinkedBuffer::default();
        for _ in 0..1_000 {
            linked.put_slice(&[7; 1_000]);
        }
        let longest = linked.parts.iter().map(Bytes::len).max();
        assert!(longest.is_some_and(|longest| longest < PART_BYTES + 1_000));
        assert_eq!(linked.into_message_bytes().into_bytes(), vec![7; 1_000_000]);
    }
}
