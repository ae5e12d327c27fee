//! Copies messages that may be kept for long, so that they do not keep alive the larger buffer that they
//! were read into.

use bytes::{Bytes, BytesMut};

/// Copies messages that are much shorter than their buffer. The shortest ones are copied into an
/// allocation that those which come next to each other share.
#[derive(Debug, Default)]
pub(crate) struct MessageCopier {
    shared: BytesMut,
}

/// A message is copied if its buffer is more than this many times as long as the message.
const MAX_PINNED: usize = 4;

/// The length in bytes of an allocation that several short copies share. A message of a quarter of it or
/// more gets its own allocation.
const SHARED_BYTES: usize = 1024;

impl MessageCopier {
    /// Copies the message, if it is much shorter than its buffer of `buffer_bytes`.
    pub(crate) fn copy(&mut self, message: &[u8], buffer_bytes: usize) -> Option<Bytes> {
        if message.len() >= buffer_bytes / MAX_PINNED {
            return None;
        }
        if message.len() >= SHARED_BYTES / MAX_PINNED {
            return Some(Bytes::copy_from_slice(message));
        }
        if self.shared.capacity() < message.len() {
            self.shared = BytesMut::with_capacity(SHARED_BYTES);
        }
        self.shared.extend_from_slice(message);
        Some(self.shared.split().freeze())
    }

    /// Frees the shared allocation when nothing comes for now, so that an idle connection holds none.
    pub(crate) fn clear(&mut self) {
        self.shared = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{MAX_PINNED, MessageCopier, SHARED_BYTES};

    /// A message in a buffer of 128 KiB.
    fn read(length: usize) -> Bytes {
        Bytes::from(vec![7; 128 * 1024]).split_to(length)
    }

    #[test]
    fn small_messages_share_an_allocation_and_no_more() {
        let mut copier = MessageCopier::default();
        let length = SHARED_BYTES / MAX_PINNED - 1;
        let kept: Vec<_> = (0..100)
            .map(|_| copier.copy(&read(length), 128 * 1024).unwrap())
            .collect();
        assert!(kept.iter().all(|message| *message == vec![7; length]));
        for (index, message) in kept.iter().enumerate() {
            let near = kept.iter().filter(|other| {
                message.as_ptr().addr().abs_diff(other.as_ptr().addr()) < SHARED_BYTES
            });
            assert!(near.count() >= MAX_PINNED, "the message {index} is alone");
        }
        // The last copy is the only owner of its allocation.
        let last = kept.last().cloned();
        drop((kept, copier));
        let held = last.and_then(|last| last.try_into_mut().ok());
        assert!(held.is_some_and(|held| held.capacity() <= SHARED_BYTES));
    }

    #[test]
    fn longer_messages_are_copied_alone_and_long_ones_stay_where_they_are() {
        let mut copier = MessageCopier::default();
        let message = read(SHARED_BYTES / MAX_PINNED);
        let kept = copier.copy(&message, 128 * 1024).unwrap();
        assert_ne!(kept.as_ptr(), message.as_ptr());
        assert!(kept.is_unique());
        let message = read(128 * 1024 / MAX_PINNED);
        assert_eq!(copier.copy(&message, 128 * 1024), None);
    }
}
