//! Reads the messages of an inbox as a stream, and reports to the driver how much was read.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use wawo_protocol::Metadata;

use crate::{
    body::{Items, MessageBatch, Streaming},
    connection::{
        handle::ConnectionHandle,
        inbox::{Inbox, ReadCount},
        mailbox::Command,
        outbox::MESSAGE_COST,
    },
    request::Caller,
    status::{Result, Status},
};

/// Reads an inbox. Each message that is read gives credit back to the sender, unless the framework itself
/// keeps it for a handler. Dropping the reader before the end of the stream reports to the driver that
/// nobody reads the rest.
pub(crate) struct InboxReader {
    inbox: Arc<Inbox>,
    connection: Arc<ConnectionHandle>,
    /// Keeps the connection open.
    _peer: Arc<dyn Caller>,
    /// All messages that were in the inbox when it was last read, and are not returned yet.
    taken: VecDeque<MessageBatch>,
    /// The number of messages in the batch that was returned last, until they count as read.
    given: usize,
    /// Messages that were read and are not reported to the driver yet.
    read: ReadCount,
    /// Whether messages that were read give credit back. Otherwise the end of the call does.
    returns_credit: bool,
}

impl InboxReader {
    /// The messages of an inbox as a stream, which keeps the peer and its connection open.
    pub(crate) fn stream(
        inbox: Arc<Inbox>,
        connection: Arc<ConnectionHandle>,
        peer: Arc<dyn Caller>,
    ) -> Streaming<Bytes> {
        Streaming::of_items(Self::new(inbox, connection, peer))
    }

    /// Does the same for the only request of a method, whose message and end come apart. The message is
    /// kept until the end has come, and then by the handler: so it counts until the call is over.
    pub(crate) fn only_request(
        inbox: Arc<Inbox>,
        connection: Arc<ConnectionHandle>,
        peer: Arc<dyn Caller>,
    ) -> Streaming<Bytes> {
        let mut reader = Self::new(inbox, connection, peer);
        reader.returns_credit = false;
        Streaming::of_items(reader)
    }

    fn new(inbox: Arc<Inbox>, connection: Arc<ConnectionHandle>, peer: Arc<dyn Caller>) -> Self {
        Self {
            inbox,
            connection,
            _peer: peer,
            taken: VecDeque::new(),
            given: 0,
            read: ReadCount::default(),
            returns_credit: true,
        }
    }

    /// The next of the taken messages.
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

    /// The next of the taken messages, with all that came in the same batch.
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
        // The sender may wait for this credit. A reader that has read all is reported at once, because it
        // may not ask for more for a long time.
        self.report(match self.taken.is_empty() && self.given == 0 {
            true => 1,
            false => self.inbox.report_cost(),
        });
    }

    fn report(&mut self, least: usize) {
        let cost = self.read.bytes + self.read.messages * MESSAGE_COST;
        if self.returns_credit && cost >= least {
            let read = std::mem::take(&mut self.read);
            let command = Command::Consumed(self.inbox.clone(), read);
            self.connection.mailbox().push_end(command);
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
        match self.inbox.poll_take(cx, &mut self.taken) {
            Poll::Ready(Ok(())) => Poll::Ready(take(self).map(Ok)),
            Poll::Ready(Err(status)) => Poll::Ready(Some(Err(self.failed(status)))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Adds to the status of a stream of replies the address that the call was sent to.
    #[cold]
    fn failed(&self, status: Status) -> Status {
        match self.connection.is_ours(self.inbox.call()) {
            true => status.carried_by(Some(self.connection.clone())),
            false => status,
        }
    }
}

impl Items<Bytes> for InboxReader {
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

    fn take_trailing_metadata(self: Pin<&mut Self>) -> Metadata {
        self.inbox.take_trailing_metadata()
    }

    fn is_cancelled(&self) -> bool {
        self.inbox.is_cancelled()
    }

    fn read(self: Pin<&mut Self>, messages: usize, bytes: usize) {
        let this = self.get_mut();
        this.given -= messages;
        this.count(messages, bytes);
    }
}

impl Drop for InboxReader {
    fn drop(&mut self) {
        let has_all = self.taken.is_empty() && self.given == 0;
        if !has_all || !self.inbox.is_taken() {
            let command = Command::StopReading(self.inbox.clone());
            self.connection.mailbox().push_end(command);
        }
    }
}
