//! The outbox of a stream, which bounds the messages between its source and the transport.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use wawo_protocol::CallId;

/// Counts the messages of a stream on their way to the driver, and in its output until there is credit
/// for them.
#[derive(Debug)]
pub(crate) struct Outbox {
    call: CallId,
    total: Arc<OutboxTotal>,
    state: Mutex<OutboxState>,
}

/// The bytes that all outboxes of a connection hold.
#[derive(Debug, Default)]
pub(crate) struct OutboxTotal(AtomicUsize);

#[derive(Debug, Default)]
struct OutboxState {
    /// Bytes that were given to the driver and are not yet in its output.
    held: usize,
    /// The part of `held` that waits for credit.
    blocked: usize,
    writer: Option<Waker>,
}

/// A stream gives the driver more messages only while it holds fewer bytes than this.
const OUTBOX_BYTES: usize = 256 * 1024;

/// If all streams of a connection hold more bytes than this together, each gives the driver only one
/// message at a time.
const OUTBOXES_BYTES: usize = 1024 * 1024;

/// The cost of a message besides its bytes, in bytes. It bounds the number of empty messages too.
pub(super) const MESSAGE_COST: usize = wawo_protocol::MESSAGE_COST_BYTES as usize;

/// The cost of messages in an outbox, in bytes.
pub(crate) fn cost(messages: usize, bytes: usize) -> usize {
    bytes + messages * MESSAGE_COST
}

impl OutboxTotal {
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn sub(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Outbox {
    pub(crate) fn new(call: CallId, total: Arc<OutboxTotal>) -> Arc<Self> {
        Arc::new(Self {
            call,
            total,
            state: Mutex::default(),
        })
    }

    pub(crate) fn call(&self) -> CallId {
        self.call
    }

    /// Records that messages of cost `left` have left, and that others, of cost `blocked`, wait for
    /// credit until [`unblock`](Self::unblock).
    pub(crate) fn handled(&self, left: usize, blocked: usize) -> Option<Waker> {
        let mut state = self.lock();
        state.blocked += blocked;
        match left {
            0 => None,
            left => self.release(&mut state, left),
        }
    }

    /// Records that all messages that waited for credit have left.
    pub(crate) fn unblock(&self) -> Option<Waker> {
        let mut state = self.lock();
        let cost = std::mem::take(&mut state.blocked);
        self.release(&mut state, cost)
    }

    fn release(&self, state: &mut OutboxState, cost: usize) -> Option<Waker> {
        state.held -= cost;
        self.total.sub(cost);
        state.writer.take()
    }

    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        // A stream is woken when a message of its own leaves. A stream that holds nothing must not wait
        // for other streams, as nothing would wake it; so it may always give one.
        let crowded = self.total.bytes() >= OUTBOXES_BYTES;
        if state.held == 0 || (state.held < OUTBOX_BYTES && !crowded) {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn hold(&self, cost: usize) {
        self.lock().held += cost;
        self.total.add(cost);
    }

    fn lock(&self) -> MutexGuard<'_, OutboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let held = self.lock().held;
        self.total.sub(held);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        task::{Context, Waker},
    };

    use wawo_protocol::{CallId, Side};

    use super::{OUTBOX_BYTES, OUTBOXES_BYTES, Outbox, OutboxTotal};

    fn has_room(outbox: &Outbox) -> bool {
        let cx = Context::from_waker(Waker::noop());
        outbox.poll_room(&cx).is_ready()
    }

    #[test]
    fn a_stream_has_room_up_to_its_limit_and_less_while_others_hold_much() {
        let total = Arc::new(OutboxTotal::default());
        let call = CallId::new(Side::Connecting, 0);
        let outbox = Outbox::new(call, total.clone());
        outbox.hold(OUTBOX_BYTES - 1);
        assert!(has_room(&outbox));
        outbox.hold(1);
        assert!(!has_room(&outbox));
        assert!(outbox.handled(1, OUTBOX_BYTES - 1).is_some(), "it waits");
        assert!(has_room(&outbox));
        let other = Outbox::new(call, total.clone());
        other.hold(OUTBOXES_BYTES);
        assert!(!has_room(&outbox));
        drop(other);
        assert!(has_room(&outbox));
        outbox.unblock();
        assert_eq!(total.bytes(), 0);
        outbox.hold(7);
        drop(outbox);
        assert_eq!(total.bytes(), 0);
    }
}
