//! Buffers that large messages were encoded into, for the next ones: fresh memory for each costs
//! more than to encode it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use wawo_protocol::BufferPool;

use crate::clock;

/// Shorter messages get memory of their own.
pub(crate) const LARGE_BYTES: usize = 16 * 1024;

/// Of the whole process: whoever encodes does not know yet which connection the message is for.
static POOL: Mutex<BufferPool> = Mutex::new(BufferPool::new());

/// The `length` bytes that `write` appends.
pub(crate) fn write(length: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let reused = pool().at(clock::now()).reuse(length);
    let (mut buffer, size) = reused.unwrap_or_else(|| (BytesMut::with_capacity(length), length));
    write(&mut buffer);
    let message = buffer.split().freeze();
    pool().keep(buffer, size);
    message
}

/// Gives back what has not been used for a while.
pub(crate) fn release() {
    pool().release(clock::now());
}

fn pool() -> MutexGuard<'static, BufferPool> {
    // They are whole at every moment.
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
