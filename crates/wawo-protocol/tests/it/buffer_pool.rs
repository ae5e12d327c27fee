//! The buffers of large messages are used again, and freed when none has been used for a while.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use wawo_protocol::BufferPool;

const SIZE: usize = 100_000;

fn buffer() -> BytesMut {
    BytesMut::from(&vec![7; SIZE][..])
}

#[allow(
    clippy::disallowed_methods,
    reason = "the tests count from it and never ask again"
)]
fn beginning() -> Instant {
    Instant::now()
}

#[test]
fn a_buffer_is_used_again_when_nobody_has_a_part_of_it() {
    let mut pool = BufferPool::default();
    let mut buffer = buffer();
    let message = buffer.split_to(SIZE / 2).freeze();
    let place = message.as_ptr();
    pool.keep(buffer, SIZE);
    assert!(pool.reuse(SIZE).is_none());
    drop(message);
    let (again, size) = pool.reuse(SIZE).unwrap();
    assert_eq!((again.as_ptr(), again.len(), size), (place, 0, SIZE));
    assert!(again.capacity() >= SIZE);
    assert!(pool.reuse(SIZE).is_none(), "it is in use");
}

#[test]
fn a_buffer_is_not_used_for_much_less_or_for_more() {
    let mut pool = BufferPool::default();
    pool.keep(buffer(), SIZE);
    assert!(pool.reuse(SIZE + 1).is_none());
    assert!(pool.reuse(SIZE * 4 / 5 - 1).is_none());
    assert!(pool.reuse(SIZE * 4 / 5).is_some());
}

#[test]
fn buffers_from_16_kib_are_kept_and_at_most_8_mib_of_them() {
    let (least, most) = (16 * 1024, 8 * 1024 * 1024);
    for (size, is_kept) in [
        (least - 1, false),
        (least, true),
        (most, true),
        (most + 1, false),
    ] {
        let mut pool = BufferPool::default();
        pool.at(beginning()).keep(BytesMut::new(), size);
        assert_eq!(pool.poll_timeout().is_some(), is_kept, "{size}");
    }
    let mut pool = BufferPool::default();
    for _ in 0..2 * most / SIZE {
        pool.keep(buffer(), SIZE);
    }
    let kept: Vec<_> = std::iter::from_fn(|| pool.reuse(SIZE)).collect();
    assert_eq!(kept.len(), most / SIZE);
}

#[test]
fn unused_buffers_are_given_back_after_a_second() {
    let (mut pool, now) = (BufferPool::default(), beginning());
    assert_eq!(pool.poll_timeout(), None);
    pool.at(now).keep(buffer(), SIZE);
    let at = now + Duration::from_secs(1);
    assert_eq!(pool.poll_timeout(), Some(at));
    pool.release(now);
    assert_eq!(pool.poll_timeout(), Some(at));
    pool.release(at);
    assert_eq!(pool.poll_timeout(), None);
    assert!(pool.reuse(SIZE).is_none());
}
