//! Keeps the buffers of large messages, to use them again for later ones. Memory that is freed after
//! each message is mapped, cleared and faulted in anew for the next, which costs more than receiving the
//! message.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::BytesMut;

/// A few buffers. The pool has a handle on each, beside those of the messages in it; a buffer can be
/// used again once no message shares it.
#[derive(Debug, Default)]
pub struct BufferPool {
    kept: VecDeque<PooledBuffer>,
    /// The size of all kept buffers together.
    bytes: usize,
    /// When a buffer was last kept or used again.
    used: Option<Instant>,
    /// The latest time that [`at`](Self::at) was given.
    now: Option<Instant>,
}

#[derive(Debug)]
struct PooledBuffer {
    buffer: BytesMut,
    size: usize,
}

/// The most bytes that the pool keeps: two messages of the default limit. Above it, the oldest buffer is
/// dropped first.
const MAX_POOL_BYTES: usize = 8 * 1024 * 1024;

/// The smallest buffer that the pool keeps, in bytes: a smaller one is allocated as cheaply as it is
/// found.
const MIN_POOLED_BYTES: usize = 16 * 1024;

/// A buffer may be larger than the message that reuses it by a quarter of the message: a message must
/// not hold much more memory than its length.
const MAX_EXCESS: usize = 4;

/// All buffers are freed when none has been used for this long.
const KEEP_FOR: Duration = Duration::from_secs(1);

impl BufferPool {
    /// An empty pool.
    pub const fn new() -> Self {
        Self {
            kept: VecDeque::new(),
            bytes: 0,
            used: None,
            now: None,
        }
    }

    /// Sets the time.
    pub fn at(&mut self, now: Instant) -> &mut Self {
        self.now = Some(now);
        self
    }

    /// Keeps a handle on a buffer of `size` bytes. Its contents are lost; messages may still share it.
    pub fn keep(&mut self, mut buffer: BytesMut, size: usize) {
        if !(MIN_POOLED_BYTES..=MAX_POOL_BYTES).contains(&size) {
            return;
        }
        buffer.clear();
        self.kept.push_back(PooledBuffer { buffer, size });
        self.bytes += size;
        self.used = self.now;
        while self.bytes > MAX_POOL_BYTES
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.size;
        }
    }

    /// Takes a buffer out of the pool that has room for `room` bytes and that no message shares; returns
    /// it, emptied, with its size. `None` if there is no such buffer.
    pub fn reuse(&mut self, room: usize) -> Option<(BytesMut, usize)> {
        let fits = room..=room.saturating_add(room / MAX_EXCESS);
        let mut pool = self.kept.iter_mut();
        let found =
            pool.position(|spare| fits.contains(&spare.size) && spare.buffer.try_reclaim(room))?;
        let PooledBuffer { buffer, size } = self.kept.remove(found)?;
        self.bytes -= size;
        self.used = self.now;
        Some((buffer, size))
    }

    /// When to [`release`](Self::release), if no buffer is used until then.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let used = self.used.filter(|_| !self.kept.is_empty());
        used.map(|used| used + KEEP_FOR)
    }

    /// Frees all buffers, if none has been used for a second.
    pub fn release(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            *self = Self::default();
        }
    }
}
