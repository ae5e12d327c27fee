//! The pool of buffers for large messages. To allocate new memory for each such message costs more than
//! to encode it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use wawo_protocol::BufferPool;

use crate::clock;

/// A shorter message, in bytes, gets memory of its own.
pub(crate) const LARGE_BYTES: usize = 16 * 1024;

/// One pool for the whole process: an encoder does not know which connection the message is for.
static POOL: Mutex<BufferPool> = Mutex::new(BufferPool::new());

/// The message of `length` bytes that `write` appends.
pub(crate) fn write(length: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let reused = pool().at(clock::now()).reuse(length);
    let (mut buffer, size) = reused.unwrap_or_else(|| (BytesMut::with_capacity(length), length));
    write(&mut buffer);
    let message = buffer.split().freeze();
    pool().keep(buffer, size);
    message
}

/// Frees buffers that have not been used for a while.
pub(crate) fn release() {
    pool().release(clock::now());
}

fn pool() -> MutexGuard<'static, BufferPool> {
    // The pool is consistent at every moment, so a panic under the lock does no harm.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::{LARGE_BYTES, write};

    #[test]
    fn a_message_stays_as_it_is_while_others_are_written() {
        let first = write(LARGE_BYTES, |buffer| buffer.put_bytes(1, LARGE_BYTES));
        let place = first.as_ptr();
        let second = write(LARGE_BYTES, |buffer| buffer.put_bytes(2, LARGE_BYTES));
        assert_eq!(first, vec![1; LARGE_BYTES]);
        assert_eq!(second, vec![2; LARGE_BYTES]);
        assert_ne!(second.as_ptr(), place);
    }
}
