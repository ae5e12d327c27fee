//! The inbox of a stream: messages that have come and are not read yet.

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

/// Messages of a stream that have come and were not read yet. The stream's credit bounds them.
#[derive(Debug)]
pub(crate) struct Inbox {
    call: CallId,
    /// A read that brings the unreported cost to this many bytes is reported to the driver. It is a
    /// quarter of the sender's credit, so that the sender does not run out of credit for messages that
    /// were already read.
    report_cost: usize,
    state: Mutex<InboxState>,
    /// Whether the call was cancelled: then its messages must not be read any more.
    is_cancelled: AtomicBool,
}

/// How many messages and bytes of a stream were read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReadCount {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct InboxState {
    messages: VecDeque<MessageBatch>,
    /// The end of the stream, until the reader has taken it.
    end: Option<Result<Metadata>>,
    /// The metadata that came with the end, after the reader has taken the end.
    trailing_metadata: Metadata,
    /// Whether nothing more comes.
    is_ended: bool,
    reader: Option<Waker>,
}

/// The inbox copies a shorter message, in bytes, so that it does not keep alive the buffer that it was
/// read into, which may be many times as large.
pub(crate) const SMALL_BYTES: usize = 2 * 1024;

/// The inbox copies a batch that is shorter than this, in bytes, in one copy for all its messages.
const SMALL_BATCH_BYTES: usize = 32 * 1024;

/// Copies short messages, so that they do not keep alive the buffer that they were read into while they
/// wait.
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

    /// Ends the stream; returns the waker of the reader.
    pub(crate) fn end(&self, result: Result<Metadata>) -> Option<Waker> {
        let mut state = self.lock();
        if !state.is_ended {
            state.is_ended = true;
            state.end = Some(result);
        }
        state.reader.take()
    }

    /// Whether nothing more comes.
    pub(crate) fn is_ended(&self) -> bool {
        self.lock().is_ended
    }

    /// Cancels the stream: messages that were not read are dropped. Returns the waker of the reader.
    pub(crate) fn cancel(&self, status: Status) -> Option<Waker> {
        self.is_cancelled.store(true, Ordering::Release);
        self.lock().messages.clear();
        self.end(Err(status))
    }

    /// Takes all messages into `taken`, which has to be empty. If there are none, the next message wakes
    /// the reader.
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

    /// The metadata at the end of the stream, for a reader that has taken the end.
    pub(super) fn take_trailing_metadata(&self) -> Metadata {
        std::mem::take(&mut self.lock().trailing_metadata)
    }

    /// Whether the stream has ended, and the reader has taken all of it.
    pub(super) fn is_taken(&self) -> bool {
        let state = self.lock();
        state.is_ended && state.messages.is_empty()
    }

    /// Whether the call was cancelled.
    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    /// The cost in bytes at which the reader reports reads to the driver.
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
        // The inbox has copied the message, so nothing else holds the buffer.
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
