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
    /// What is under way, and when each piece arrives.
    pieces: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// Nothing arrives before this.
    held_until: Instant,
    /// When the last that was written arrives.
    last: Instant,
    /// The writer has written all.
    is_ended: bool,
    /// Nobody reads.
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

/// What there is to read.
pub(crate) enum Arrival {
    /// So many bytes; none at the end.
    Here(usize),
    /// Nothing before this time.
    At(Instant),
    /// Nothing under way; the reader is woken when that changes.
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
                held_until: now,
                last: now,
                is_ended: false,
                is_abandoned: false,
                reader: None,
                writer: None,
            }),
        }
    }

    /// Takes some of the bytes.
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
        state.pieces.push_back((arrival, first(slices, taken)));
        state.bytes += taken;
        wake(state.reader.take());
        Poll::Ready(Ok(taken))
    }

    /// Gives some of the bytes that have arrived.
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

    /// Both ends see that it is gone; what is under way is lost.
    pub(crate) fn cut(&self) {
        self.meet(Fate::Cut);
    }

    /// What is under way and what is written from now on never arrives, and nobody is told.
    pub(crate) fn vanish(&self) {
        self.meet(Fate::Vanishes);
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

    /// Nothing arrives before this time.
    pub(crate) fn hold(&self, until: Instant) {
        let mut state = self.lock();
        state.held_until = state.held_until.max(until);
    }

    /// Nothing more is written.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        // Of a wire on which everything vanishes, the end vanishes too.
        if state.fate == Fate::Carries && !state.is_ended {
            state.last = state.arrival(self.style);
            state.is_ended = true;
            wake(state.reader.take());
        }
    }

    /// Nobody reads any more.
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
    /// When what is written now arrives: after what was written before.
    fn arrival(&mut self, style: LinkStyle) -> Instant {
        let (min, max) = (style.min_delay.as_millis(), style.max_delay.as_millis());
        let delay = self.random.millis(min as u64..=max as u64);
        self.last = self.last.max(Instant::now() + delay);
        self.last
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

    /// How many of so many bytes go together: at least one.
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
fn first(slices: &[IoSlice<'_>], bytes: usize) -> Bytes {
    let mut taken = BytesMut::with_capacity(bytes);
    for slice in slices {
        let left = bytes - taken.len();
        taken.extend_from_slice(&slice[..slice.len().min(left)]);
    }
    taken.freeze()
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
