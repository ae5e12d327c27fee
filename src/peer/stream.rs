//! The streams of a call, between its driver and those who read and write them.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_core::Stream;
use wawo_protocol::CallId;

use crate::{
    body::Streaming,
    panic::catch,
    peer::{Handle, mailbox::Command},
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
    /// How the stream ended, until the reader has heard it.
    end: Option<Result<()>>,
    /// Nothing more comes.
    is_ended: bool,
    reader: Option<Waker>,
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

    /// The stream of the messages. What is read gives the sender credit; dropping it before its
    /// end tells the driver.
    pub(crate) fn reader(self: Arc<Self>, peer: Arc<Handle>) -> Streaming<Bytes> {
        Streaming::new(Reader {
            inbox: self,
            peer,
            consumed: 0,
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
    consumed: usize,
}

/// The driver hears of this many bytes read at once: a quarter of the least initial credit, so
/// that the sender is never left without credit for bytes that were read.
const TELL_BYTES: usize = wawo_protocol::MIN_CREDIT_BYTES as usize / 4;

impl Reader {
    fn tell(&mut self, least: usize) {
        if self.consumed >= least {
            let bytes = std::mem::take(&mut self.consumed);
            let command = Command::Consumed(self.inbox.clone(), bytes);
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
            self.consumed += message.len();
            self.tell(TELL_BYTES);
            return Poll::Ready(Some(Ok(message)));
        }
        if state.is_ended {
            let end = state.end.take();
            return Poll::Ready(end.and_then(Result::err).map(Err));
        }
        state.reader = Some(cx.waker().clone());
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

/// What a message counts besides its bytes, so that empty ones are bounded too.
const MESSAGE_COST: usize = 64;

impl Outbox {
    pub(crate) fn new(call: CallId) -> Arc<Self> {
        Arc::new(Self {
            call,
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
        state.held -= cost;
        state.writer.take()
    }

    /// All that waited for credit has left.
    pub(crate) fn unblock(&self) -> Option<Waker> {
        let mut state = self.lock();
        state.held -= state.blocked;
        state.blocked = 0;
        state.writer.take()
    }

    fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.held < OUTBOX_BYTES {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn hold(&self, bytes: usize) {
        self.lock().held += bytes + MESSAGE_COST;
    }

    fn lock(&self) -> MutexGuard<'_, OutboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries a stream to the driver, as fast as it takes it. The driver aborts the task when the
/// call is over.
pub(crate) async fn pump(mut messages: Streaming<Bytes>, outbox: Arc<Outbox>, peer: Arc<Handle>) {
    let mailbox = &peer.shared().mailbox;
    let end = loop {
        poll_fn(|cx| outbox.poll_room(cx)).await;
        match next(&mut messages).await {
            Ok(Some(message)) => {
                outbox.hold(message.len());
                mailbox.push_end(Command::Message(outbox.clone(), message));
            }
            Ok(None) => break Ok(()),
            Err(status) => break Err(status),
        }
    };
    mailbox.push_end(Command::Finish(outbox, end));
}

/// The next message. A stream is code of the application, so its panic must end its call, and not
/// just the task that carries it.
async fn next(messages: &mut Streaming<Bytes>) -> Result<Option<Bytes>> {
    let next = poll_fn(|cx| {
        let polled = catch(|| Pin::new(&mut *messages).poll_next(cx));
        polled.unwrap_or_else(|panic| {
            let status = Status::internal("a stream of messages panicked");
            Poll::Ready(Some(Err(status.with_source(panic))))
        })
    });
    next.await.transpose()
}
