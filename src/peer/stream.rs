//! The streams of a call, between its driver and those who read and write them.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use wawo_protocol::CallId;

use crate::{
    body::Streaming,
    panic::caught,
    peer::{Handle, Shared, mailbox::Command},
    status::{Result, Status},
};

/// Messages that have come and were not read yet. Credit bounds them.
#[derive(Debug)]
pub(crate) struct Inbox {
    call: CallId,
    state: Mutex<InboxState>,
}

#[derive(Debug, Default)]
struct InboxState {
    messages: VecDeque<Bytes>,
    /// Where small messages are kept, so that they do not hold the buffer they were read into.
    shelf: BytesMut,
    /// How the stream ended, until the reader has heard it.
    end: Option<Result<()>>,
    /// Nothing more comes.
    is_ended: bool,
    reader: Option<Waker>,
}

/// Messages shorter than this are copied when they have to wait.
pub(crate) const SMALL_BYTES: usize = 2 * 1024;

/// How much a shelf has room for at first.
const SHELF_BYTES: usize = 4 * 1024;

impl InboxState {
    /// A message that may wait for long: it must not keep more memory than it has bytes.
    fn keep(&mut self, message: Bytes) -> Bytes {
        if message.len() >= SMALL_BYTES {
            return message;
        }
        if self.messages.is_empty() || message.is_empty() {
            // Often the only one: a shelf would be larger than it.
            return Bytes::copy_from_slice(&message);
        }
        if self.shelf.capacity() < message.len() {
            self.shelf = BytesMut::with_capacity(SHELF_BYTES);
        }
        self.shelf.extend_from_slice(&message);
        self.shelf.split().freeze()
    }
}

impl Inbox {
    pub(crate) fn new(call: CallId) -> Arc<Self> {
        Arc::new(Self {
            call,
            state: Mutex::default(),
        })
    }

    pub(crate) fn call(&self) -> CallId {
        self.call
    }

    /// Adds a message; returns the waker of the reader.
    pub(crate) fn push(&self, message: Bytes) -> Option<Waker> {
        let mut state = self.lock();
        let message = state.keep(message);
        state.messages.push_back(message);
        state.reader.take()
    }

    /// Nothing follows; returns the waker of the reader.
    pub(crate) fn end(&self, result: Result<()>) -> Option<Waker> {
        let mut state = self.lock();
        if !state.is_ended {
            state.is_ended = true;
            state.end = Some(result);
        }
        state.reader.take()
    }

    /// The call was given up: what was not read is let go.
    pub(crate) fn cancel(&self, status: Status) -> Option<Waker> {
        self.lock().messages.clear();
        self.end(Err(status))
    }

    /// The stream of the messages. What is read gives the sender credit; dropping it before its
    /// end tells the driver.
    pub(crate) fn reader(self: Arc<Self>, peer: Arc<Handle>) -> Streaming<Bytes> {
        Streaming::new(Reader {
            inbox: self,
            peer,
            read: Read::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Reader {
    inbox: Arc<Inbox>,
    peer: Arc<Handle>,
    /// Read and not yet told to the driver.
    read: Read,
}

/// How much of a stream was read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Read {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// The driver hears of reads that cost this much: a quarter of the least initial credit, so that
/// the sender is never left without credit for what was read.
const TELL_COST: usize = wawo_protocol::MIN_CREDIT_BYTES as usize / 4;

impl Reader {
    fn tell(&mut self, least: usize) {
        if self.read.bytes + self.read.messages * MESSAGE_COST >= least {
            let read = std::mem::take(&mut self.read);
            let command = Command::Consumed(self.inbox.clone(), read);
            self.peer.shared().mailbox.push_end(command);
        }
    }
}

impl Stream for Reader {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let mut state = self.inbox.lock();
        if let Some(message) = state.messages.pop_front() {
            drop(state);
            self.read.messages += 1;
            self.read.bytes += message.len();
            self.tell(TELL_COST);
            return Poll::Ready(Some(Ok(message)));
        }
        if state.is_ended {
            let end = state.end.take();
            return Poll::Ready(end.and_then(Result::err).map(Err));
        }
        state.reader = Some(cx.waker().clone());
        // An idle stream holds no buffer.
        state.shelf = BytesMut::new();
        drop(state);
        // The sender may be waiting for just this credit.
        self.tell(1);
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !self.inbox.lock().is_ended {
            let command = Command::Abandoned(self.inbox.clone());
            self.peer.shared().mailbox.push_end(command);
        }
    }
}

/// Room for the messages of a stream on their way to the driver.
#[derive(Debug)]
pub(crate) struct Outbox {
    call: CallId,
    shared: Arc<Shared>,
    state: Mutex<OutboxState>,
}

#[derive(Debug, Default)]
struct OutboxState {
    /// Bytes given to the driver and not yet in its output.
    held: usize,
    /// Of these, bytes that wait for credit.
    blocked: usize,
    writer: Option<Waker>,
}

/// A stream gives the driver more only while it holds less than this.
const OUTBOX_BYTES: usize = 256 * 1024;

/// While all streams of a connection hold more than this together, each gives the driver one
/// message at a time.
const OUTBOXES_BYTES: usize = 1024 * 1024;

/// What a message counts besides its bytes, so that empty ones are bounded too.
const MESSAGE_COST: usize = wawo_protocol::MESSAGE_COST_BYTES as usize;

impl Outbox {
    pub(crate) fn new(call: CallId, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            call,
            shared,
            state: Mutex::default(),
        })
    }

    pub(crate) fn call(&self) -> CallId {
        self.call
    }

    /// A message has left, or waits for credit until [`unblock`](Self::unblock).
    pub(crate) fn handled(&self, bytes: usize, has_left: bool) -> Option<Waker> {
        let mut state = self.lock();
        let cost = bytes + MESSAGE_COST;
        if !has_left {
            state.blocked += cost;
            return None;
        }
        self.release(&mut state, cost)
    }

    /// All that waited for credit has left.
    pub(crate) fn unblock(&self) -> Option<Waker> {
        let mut state = self.lock();
        let cost = std::mem::take(&mut state.blocked);
        self.release(&mut state, cost)
    }

    fn release(&self, state: &mut OutboxState, cost: usize) -> Option<Waker> {
        state.held -= cost;
        self.shared.outboxes.fetch_sub(cost, Ordering::Relaxed);
        state.writer.take()
    }

    fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        // Whoever holds something is woken when it leaves, so none waits for the others.
        let crowded = self.shared.outboxes.load(Ordering::Relaxed) >= OUTBOXES_BYTES;
        if state.held == 0 || (state.held < OUTBOX_BYTES && !crowded) {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn hold(&self, bytes: usize) {
        let cost = bytes + MESSAGE_COST;
        self.lock().held += cost;
        self.shared.outboxes.fetch_add(cost, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, OutboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let held = self.lock().held;
        self.shared.outboxes.fetch_sub(held, Ordering::Relaxed);
    }
}

/// Carries a stream to the driver, as fast as it takes it. The driver aborts the task when the
/// call is over. A stream that panics fails.
pub(crate) async fn pump(mut messages: Streaming<Bytes>, outbox: Arc<Outbox>) {
    let end = loop {
        poll_fn(|cx| outbox.poll_room(cx)).await;
        let next = poll_fn(|cx| caught(&mut messages, cx)).await;
        match next {
            Some(Ok(message)) => {
                outbox.hold(message.len());
                let command = Command::Message(outbox.clone(), message);
                outbox.shared.mailbox.push_end(command);
            }
            None => break Ok(()),
            Some(Err(status)) => break Err(status),
        }
    };
    let command = Command::Finish(outbox.clone(), end);
    outbox.shared.mailbox.push_end(command);
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use wawo_protocol::{CallId, Side};

    use super::{Inbox, SMALL_BYTES};

    #[test]
    fn messages_that_wait_do_not_hold_the_buffer_they_were_read_into() {
        let inbox = Inbox::new(CallId::new(Side::Connecting, 0));
        let mut buffer = BytesMut::from(&vec![7; 128 * 1024][..]);
        for length in [0, 1, 5, 1_000, SMALL_BYTES - 1] {
            inbox.push(buffer.split_to(length).freeze());
        }
        // Nothing else holds the buffer, so it can be taken back whole.
        let rest = buffer.freeze();
        assert!(rest.is_unique());
        let waiting = &inbox.lock().messages;
        let lengths: Vec<_> = waiting.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [0, 1, 5, 1_000, SMALL_BYTES - 1]);
        assert!(
            waiting
                .iter()
                .all(|message| message.iter().all(|byte| *byte == 7))
        );
    }

    #[test]
    fn a_large_message_is_not_copied() {
        let inbox = Inbox::new(CallId::new(Side::Connecting, 0));
        let large = Bytes::from(vec![7; SMALL_BYTES]);
        inbox.push(large.clone());
        assert_eq!(inbox.lock().messages[0].as_ptr(), large.as_ptr());
    }
}
