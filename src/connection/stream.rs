//! The streams of a call, between its driver and those who read and write them.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use wawo_protocol::{CallId, packet::BatchBuilder};

use crate::{
    body::{Items, MessageBatch, SEND_BATCH_BYTES, Streaming},
    connection::mailbox::Command,
    peer::{Handle, PeerState},
    serve::inbound::ExpiringStream,
    status::{Result, Status},
};

/// Messages that have come and were not read yet. Credit bounds them.
#[derive(Debug)]
pub(crate) struct Inbox {
    call: CallId,
    /// The driver hears of reads that cost this much: a quarter of what the sender may send, so
    /// that it is never left without credit for what was read.
    report_cost: usize,
    state: Mutex<InboxState>,
    /// The call was given up, and what was not read is not to be.
    is_cancelled: AtomicBool,
}

#[derive(Debug, Default)]
struct InboxState {
    messages: VecDeque<MessageBatch>,
    /// How the stream ended, until the reader has heard it.
    end: Option<Result<()>>,
    /// Nothing more comes.
    is_ended: bool,
    reader: Option<Waker>,
}

/// What is shorter than this is copied when it has to wait, so that it does not keep the buffer that
/// it was read into, which may be many times as large.
pub(crate) const SMALL_BYTES: usize = 2 * 1024;

/// The same of many messages, whose copy is cheaper for each.
const SMALL_BATCH_BYTES: usize = 32 * 1024;

/// What waits may be read much later.
fn unshared(batch: MessageBatch) -> MessageBatch {
    match batch {
        MessageBatch::One(message) if message.len() < SMALL_BYTES => {
            MessageBatch::One(Bytes::copy_from_slice(&message))
        }
        MessageBatch::One(message) => MessageBatch::One(message),
        MessageBatch::Many(messages) => {
            MessageBatch::Many(messages.unshared_below(SMALL_BATCH_BYTES))
        }
    }
}

impl Inbox {
    pub(crate) fn new(call: CallId, credit: u32) -> Arc<Self> {
        Arc::new(Self {
            call,
            report_cost: credit as usize / 4,
            state: Mutex::default(),
            is_cancelled: AtomicBool::new(false),
        })
    }

    pub(crate) fn call(&self) -> CallId {
        self.call
    }

    /// Adds messages; returns the waker of the reader.
    pub(crate) fn push(&self, messages: MessageBatch) -> Option<Waker> {
        let messages = unshared(messages);
        let mut state = self.lock();
        state.messages.push_back(messages);
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

    /// Whether nothing follows.
    pub(crate) fn is_ended(&self) -> bool {
        self.lock().is_ended
    }

    /// The call was given up: what was not read is let go.
    pub(crate) fn cancel(&self, status: Status) -> Option<Waker> {
        self.is_cancelled.store(true, Ordering::Release);
        self.lock().messages.clear();
        self.end(Err(status))
    }

    /// The stream of the messages. What is read gives the sender credit; dropping it before its
    /// end tells the driver.
    pub(crate) fn reader(self: Arc<Self>, peer: Arc<Handle>) -> Streaming<Bytes> {
        Streaming::of_items(Reader {
            inbox: self,
            peer,
            taken: VecDeque::new(),
            given: 0,
            read: ReadCount::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Reader {
    inbox: Arc<Inbox>,
    peer: Arc<Handle>,
    /// Messages that it took out of the inbox, all that were there at once.
    taken: VecDeque<MessageBatch>,
    /// Messages of a piece that was given on, and is not read yet.
    given: usize,
    /// Read and not yet told to the driver.
    read: ReadCount,
}

/// How much of a stream was read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReadCount {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Reader {
    /// The next message of those that were taken.
    fn take_one(&mut self) -> Option<Bytes> {
        let message = match self.taken.pop_front()? {
            MessageBatch::One(message) => message,
            MessageBatch::Many(mut messages) => {
                let message = messages.next()?;
                if messages.len() > 0 {
                    self.taken.push_front(MessageBatch::Many(messages));
                }
                message
            }
        };
        self.count(1, message.len());
        Some(message)
    }

    /// The next of those messages, all that came together.
    fn take_batch(&mut self) -> Option<MessageBatch> {
        let batch = self.taken.pop_front()?;
        match &batch {
            MessageBatch::One(message) => self.count(1, message.len()),
            MessageBatch::Many(messages) => self.given += messages.len(),
        }
        Some(batch)
    }

    fn count(&mut self, messages: usize, bytes: usize) {
        self.read.messages += messages;
        self.read.bytes += bytes;
        // The sender may be waiting for just this credit, and whoever has read all may not ask for
        // more for long.
        self.report(match self.taken.is_empty() && self.given == 0 {
            true => 1,
            false => self.inbox.report_cost,
        });
    }

    fn report(&mut self, least: usize) {
        if self.read.bytes + self.read.messages * MESSAGE_COST >= least {
            let read = std::mem::take(&mut self.read);
            let command = Command::Consumed(self.inbox.clone(), read);
            self.peer.shared().mailbox.push_end(command);
        }
    }

    fn poll<R>(
        &mut self,
        cx: &Context<'_>,
        take: fn(&mut Self) -> Option<R>,
    ) -> Poll<Option<Result<R>>> {
        if self.is_cancelled() {
            self.taken.clear();
        }
        if let Some(taken) = take(self) {
            return Poll::Ready(Some(Ok(taken)));
        }
        let mut state = self.inbox.lock();
        std::mem::swap(&mut state.messages, &mut self.taken);
        if !self.taken.is_empty() {
            drop(state);
            return Poll::Ready(take(self).map(Ok));
        }
        if state.is_ended {
            let failure = state.end.take().and_then(Result::err);
            return Poll::Ready(failure.map(|status| Err(self.failed(status))));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Reader {
    /// A stream of replies says where the call went.
    #[cold]
    fn failed(&self, status: Status) -> Status {
        let shared = self.peer.shared();
        match self.inbox.call.side() == shared.side {
            true => status.carried_by(Some(shared.clone())),
            false => status,
        }
    }
}

impl Items<Bytes> for Reader {
    fn poll_item(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Result<Bytes>>> {
        self.get_mut().poll(cx, Self::take_one)
    }

    fn poll_batch(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Result<MessageBatch>>> {
        self.get_mut().poll(cx, Self::take_batch)
    }

    fn is_cancelled(&self) -> bool {
        self.inbox.is_cancelled.load(Ordering::Acquire)
    }

    fn read(self: Pin<&mut Self>, messages: usize, bytes: usize) {
        let this = self.get_mut();
        this.given -= messages;
        this.count(messages, bytes);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let is_read_out = {
            let state = self.inbox.lock();
            let has_all = self.taken.is_empty() && self.given == 0;
            state.is_ended && state.messages.is_empty() && has_all
        };
        if !is_read_out {
            let command = Command::StopReading(self.inbox.clone());
            self.peer.shared().mailbox.push_end(command);
        }
    }
}

/// Room for the messages of a stream on their way to the driver.
#[derive(Debug)]
pub(crate) struct Outbox {
    call: CallId,
    shared: Arc<PeerState>,
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

/// What messages count in an outbox.
pub(crate) fn cost(messages: usize, bytes: usize) -> usize {
    bytes + messages * MESSAGE_COST
}

impl Outbox {
    pub(crate) fn new(call: CallId, shared: Arc<PeerState>) -> Arc<Self> {
        Arc::new(Self {
            call,
            shared,
            state: Mutex::default(),
        })
    }

    pub(crate) fn call(&self) -> CallId {
        self.call
    }

    /// Messages of this cost have left, and others wait for credit until
    /// [`unblock`](Self::unblock).
    pub(crate) fn handled(&self, left: usize, blocked: usize) -> Option<Waker> {
        let mut state = self.lock();
        state.blocked += blocked;
        match left {
            0 => None,
            left => self.release(&mut state, left),
        }
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
        let crowded = self.shared.outbox_bytes() >= OUTBOXES_BYTES;
        if state.held == 0 || (state.held < OUTBOX_BYTES && !crowded) {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn hold(&self, cost: usize) {
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
pub(crate) async fn pump(mut messages: ExpiringStream, outbox: Arc<Outbox>) {
    let mut packets = BatchBuilder::new(outbox.call());
    let end = loop {
        poll_fn(|cx| outbox.poll_room(cx)).await;
        let polled = poll_fn(|cx| {
            let polled = messages.fill_batch(cx, &mut packets);
            // What is ready goes, whether more is or not.
            match polled.is_pending() && packets.messages() == 0 {
                true => Poll::Pending,
                false => Poll::Ready(polled),
            }
        });
        let polled = polled.await;
        let is_slow = polled.is_ready() && packets.packet_bytes() < SEND_BATCH_BYTES;
        if packets.messages() > 0 {
            let messages = packets.take();
            outbox.hold(cost(messages.len(), messages.message_bytes()));
            let command = Command::Messages(outbox.clone(), messages);
            outbox.shared.mailbox.push_end(command);
        }
        if let Poll::Ready(Some(end)) = polled {
            break end;
        }
        if is_slow {
            // A stream that is always ready, and slow, must let others run.
            tokio::task::yield_now().await;
        }
    };
    let command = Command::Finish(outbox.clone(), end);
    outbox.shared.mailbox.push_end(command);
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use wawo_protocol::{CallId, Side, packet::BatchBuilder};

    use super::{Inbox, MessageBatch, SMALL_BATCH_BYTES, SMALL_BYTES};

    const CALL: CallId = CallId::new(Side::Connecting, 0);

    #[test]
    fn messages_that_wait_do_not_hold_the_buffer_they_were_read_into() {
        let inbox = Inbox::new(CALL, 0);
        let mut buffer = BytesMut::from(&vec![7; 128 * 1024][..]);
        for length in [0, 1, 5, 1_000, SMALL_BYTES - 1] {
            inbox.push(MessageBatch::One(buffer.split_to(length).freeze()));
        }
        // Nothing else holds the buffer.
        assert!(buffer.freeze().is_unique());
        let mut packets = BatchBuilder::new(CALL);
        packets.push(|buffer| buffer.extend_from_slice(&[7; SMALL_BATCH_BYTES - 13]));
        let messages = packets.take();
        let before = messages.clone().next().unwrap();
        inbox.push(MessageBatch::Many(messages));
        let Some(MessageBatch::Many(mut kept)) = inbox.lock().messages.pop_back() else {
            panic!("it was put there");
        };
        assert_ne!(kept.next().unwrap().as_ptr(), before.as_ptr());
    }

    #[test]
    fn a_large_message_is_not_copied() {
        let inbox = Inbox::new(CALL, 0);
        let large = Bytes::from(vec![7; SMALL_BYTES]);
        inbox.push(MessageBatch::One(large.clone()));
        let Some(MessageBatch::One(kept)) = inbox.lock().messages.pop_back() else {
            panic!("it was put there");
        };
        assert_eq!(kept.as_ptr(), large.as_ptr());
    }
}
