//! One direction of a link.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{io::ReadBuf, time::Instant};

use crate::{
    plan::{LinkStyle, Split},
    random::Random,
};

#[derive(Debug)]
pub(crate) struct Wire {
    style: LinkStyle,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: Random,
    fate: Fate,
    /// The bytes on their way, and the time at which each piece arrives.
    pieces: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// Bytes written from now on are changed.
    is_corrupt: bool,
    /// Nothing arrives before this time.
    held_until: Instant,
    /// The time at which the last written piece arrives.
    last: Instant,
    /// The writer has ended.
    is_ended: bool,
    /// The reader is gone.
    is_abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Carries,
    Vanishes,
    Cut,
}

/// The state of the reading end.
pub(crate) enum Arrival {
    /// This many bytes arrived; zero at the end.
    Here(usize),
    /// Nothing arrives before this time.
    At(Instant),
    /// Nothing is on its way; the reader is woken when that changes.
    Unknown,
}

impl Wire {
    pub(crate) fn new(style: LinkStyle, random: Random) -> Self {
        let now = Instant::now();
        Self {
            style,
            state: Mutex::new(State {
                random,
                fate: Fate::Carries,
                pieces: VecDeque::new(),
                bytes: 0,
                is_corrupt: false,
                held_until: now,
                last: now,
                is_ended: false,
                is_abandoned: false,
                reader: None,
                writer: None,
            }),
        }
    }

    /// Accepts some of the bytes.
    pub(crate) fn write(
        &self,
        cx: &Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        let offered = slices.iter().map(|slice| slice.len()).sum();
        if state.fate == Fate::Cut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.fate == Fate::Vanishes || state.is_abandoned {
            return Poll::Ready(Ok(offered));
        }
        let room = self.style.capacity - state.bytes;
        if room == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = state.piece(self.style.split, offered.min(room));
        let arrival = state.arrival(self.style);
        let mut piece = first(slices, taken);
        if state.is_corrupt {
            state.change(&mut piece);
        }
        state.pieces.push_back((arrival, piece.freeze()));
        state.bytes += taken;
        wake(state.reader.take());
        Poll::Ready(Ok(taken))
    }

    /// Returns some of the bytes that have arrived.
    pub(crate) fn read(&self, cx: &Context<'_>, buffer: &mut ReadBuf<'_>) -> io::Result<Arrival> {
        let mut state = self.lock();
        if state.fate == Fate::Cut {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let next = state.pieces.front().map(|(arrival, _)| *arrival);
        let Some(next) = next.or_else(|| state.is_ended.then_some(state.last)) else {
            state.reader = Some(cx.waker().clone());
            return Ok(Arrival::Unknown);
        };
        let next = next.max(state.held_until);
        if next > Instant::now() {
            state.reader = Some(cx.waker().clone());
            return Ok(Arrival::At(next));
        }
        Ok(Arrival::Here(state.give(self.style.split, buffer)))
    }

    /// Cuts the wire: both ends notice at once, and bytes on their way are lost.
    pub(crate) fn cut(&self) {
        self.meet(Fate::Cut);
    }

    /// From now on nothing arrives, not even bytes on their way, and nobody notices.
    pub(crate) fn vanish(&self) {
        self.meet(Fate::Vanishes);
    }

    /// From now on, some bits of each piece arrive changed.
    pub(crate) fn corrupt(&self) {
        self.lock().is_corrupt = true;
    }

    fn meet(&self, fate: Fate) {
        let mut state = self.lock();
        if state.fate == Fate::Cut {
            return;
        }
        state.fate = fate;
        state.pieces.clear();
        state.bytes = 0;
        wake(state.reader.take());
        wake(state.writer.take());
    }

    /// Holds all arrivals until this time.
    pub(crate) fn hold(&self, until: Instant) {
        let mut state = self.lock();
        state.held_until = state.held_until.max(until);
    }

    /// Ends the writing side.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        // If everything vanishes on this wire, its end vanishes too.
        if state.fate == Fate::Carries && !state.is_ended {
            state.last = state.arrival(self.style);
            state.is_ended = true;
            wake(state.reader.take());
        }
    }

    /// The reader is gone.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.is_abandoned = true;
        wake(state.writer.take());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The arrival time of bytes written now: after all bytes written before.
    fn arrival(&mut self, style: LinkStyle) -> Instant {
        let (min, max) = (style.min_delay.as_millis(), style.max_delay.as_millis());
        let delay = self.random.millis(min as u64..=max as u64);
        self.last = self.last.max(Instant::now() + delay);
        self.last
    }

    /// Changes a byte, and the last one: TLS ignores one byte at the begin of each record, the minor
    /// version, and no two bytes in a row.
    fn change(&mut self, piece: &mut BytesMut) {
        let Some(last) = piece.len().checked_sub(1) else {
            return;
        };
        piece[self.random.within(0..=last as u64) as usize] ^= 0x10;
        piece[last] ^= 1;
    }

    fn give(&mut self, split: Split, buffer: &mut ReadBuf<'_>) -> usize {
        let Some((_, piece)) = self.pieces.front() else {
            return 0;
        };
        let most = piece.len().min(buffer.remaining());
        let given = self.piece(split, most);
        if let Some((_, piece)) = self.pieces.front_mut() {
            buffer.put_slice(&piece.split_to(given));
            if !piece.has_remaining() {
                self.pieces.pop_front();
            }
        }
        self.bytes -= given;
        wake(self.writer.take());
        given
    }

    /// The size of the next piece, of at most `most` bytes: at least one.
    fn piece(&mut self, split: Split, most: usize) -> usize {
        let small_percent = match split {
            Split::Nowhere => 0,
            Split::Sometimes => 20,
            Split::Often => 60,
        };
        if most <= 1 || !self.random.percent(small_percent) {
            return most;
        }
        let most_of_them = match self.random.percent(50) {
            true => most.min(20),
            false => most,
        };
        self.random.within(1..=most_of_them as u64) as usize
    }
}

/// The first bytes of some slices.
fn first(slices: &[IoSlice<'_>], bytes: usize) -> BytesMut {
    let mut taken = BytesMut::with_capacity(bytes);
    for slice in slices {
        let left = bytes - taken.len();
        taken.extend_from_slice(&slice[..slice.len().min(left)]);
    }
    taken
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
