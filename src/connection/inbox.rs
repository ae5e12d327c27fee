//! The messages of a stream that have come, until they are read.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use wawo_protocol::{CallId, Metadata};

use crate::{
    body::MessageBatch,
    status::{Result, Status},
};

/// Messages that have come and were not read yet. Credit bounds them.
#[derive(Debug)]
pub(crate) struct Inbox {
    call: CallId,
    /// The driver is told of reads that cost this many bytes: a quarter of what the sender may send,
    /// so that it is never left without credit for what was read.
    report_cost: usize,
    state: Mutex<InboxState>,
    /// The call was cancelled: its messages must not be read any more.
    is_cancelled: AtomicBool,
}

/// How much of a stream was read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReadCount {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct InboxState {
    messages: VecDeque<MessageBatch>,
    /// How the stream ended, until the reader has heard it.
    end: Option<Result<Metadata>>,
    /// The metadata that came with the end, once the reader has heard of that.
    trailing_metadata: Metadata,
    /// Nothing more comes.
    is_ended: bool,
    reader: Option<Waker>,
}

/// A shorter message is copied when it has to wait, so that it does not keep the buffer that it was
/// read into, which may be many times as large.
pub(crate) const SMALL_BYTES: usize = 2 * 1024;

/// A shorter batch of messages is copied; one copy for all of them is cheap.
const SMALL_BATCH_BYTES: usize = 32 * 1024;

/// Frees messages that wait, perhaps for long, of the buffer that they were read into.
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
    pub(crate) fn end(&self, result: Result<Metadata>) -> Option<Waker> {
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

    /// The call was cancelled: messages that were not read are dropped.
    pub(crate) fn cancel(&self, status: Status) -> Option<Waker> {
        self.is_cancelled.store(true, Ordering::Release);
        self.lock().messages.clear();
        self.end(Err(status))
    }

    /// Takes all messages that are here, into an empty list. Without any, the reader is woken by the
    /// next one.
    pub(super) fn poll_take(
        &self,
        cx: &Context<'_>,
        taken: &mut VecDeque<MessageBatch>,
    ) -> Poll<Result<()>> {
        let mut state = self.lock();
        std::mem::swap(&mut state.messages, taken);
        if !taken.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if state.is_ended {
            return Poll::Ready(match state.end.take() {
                Some(Err(status)) => Err(status),
                Some(Ok(metadata)) => {
                    state.trailing_metadata = metadata;
                    Ok(())
                }
                None => Ok(()),
            });
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The metadata at the end of the stream, for the reader that has come there.
    pub(super) fn take_trailing_metadata(&self) -> Metadata {
        std::mem::take(&mut self.lock().trailing_metadata)
    }

    /// Whether the stream has ended, and all of it was taken.
    pub(super) fn is_taken(&self) -> bool {
        let state = self.lock();
        state.is_ended && state.messages.is_empty()
    }

    /// Whether the call was cancelled.
    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    /// Reads that cost this many bytes are reported to the driver.
    pub(super) fn report_cost(&self) -> usize {
        self.report_cost
    }

    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
