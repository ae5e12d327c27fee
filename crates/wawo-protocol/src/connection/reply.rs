//! How a callee replies to a call, and ends it.

use crate::{
    call::{SendHalf, Step},
    connection::{
        calls::Entry,
        fit::{self, fit},
        machine::Connection,
        refusal::Overload,
    },
    id::CallId,
    message::MessageBytes,
    metadata::Metadata,
    packet::{End, Packet, put_reply},
};

impl<T> Connection<T> {
    /// Replies to a call of theirs with one message, and so ends it. Returns `false` if the reply was not
    /// sent: the call is over already, or a limit has ended it now.
    pub fn reply(
        &mut self,
        call: CallId,
        metadata: Metadata,
        message: impl Into<MessageBytes>,
    ) -> bool {
        self.begin_reply(call, metadata, Some(message.into()), true)
    }

    /// Begins a reply that is a stream. Returns `false` if the call is over, now or already, and takes no
    /// messages.
    pub fn open_reply(&mut self, call: CallId, metadata: Metadata) -> bool {
        self.admit_stream(call, None) && self.begin_reply(call, metadata, None, false)
    }

    fn begin_reply(
        &mut self,
        id: CallId,
        metadata: Metadata,
        message: Option<MessageBytes>,
        end: bool,
    ) -> bool {
        let theirs = self.calls.theirs.get(id);
        let theirs = theirs.filter(|theirs| !theirs.call.state.is_ended_here());
        let Some(theirs) = theirs.filter(|_| !self.is_closed()) else {
            return false;
        };
        let credit = theirs.role.reply_credit;
        let length = message.as_ref().map_or(0, MessageBytes::len);
        if let Err(refusal) = fit::check(length, &metadata, &self.peer) {
            self.end_overloaded(id, None, Overload::ReplyTooLarge(refusal), false);
            return false;
        }
        if let Err(overload) = self.load.check_reply(length, &self.config) {
            self.end_overloaded(id, None, overload, false);
            return false;
        }
        let message = match message {
            Some(message) if self.is_full() => {
                let bytes = message.len() + metadata.block_bytes();
                let send_half = SendHalf::unopened(metadata, message, end, credit);
                self.wait_to_reply(id, send_half, bytes, end);
                return true;
            }
            message => message,
        };
        let room = self.chunk_room(metadata.block_bytes());
        let (first, send_half) = SendHalf::open(message, end, credit, room);
        put_reply(&mut self.output, id, &metadata, first);
        match send_half {
            Some(send_half) => self.wait_to_reply(id, send_half, length, end),
            None => self.remove_theirs(id),
        }
        true
    }

    /// Queues a reply that has more to send, and counts `bytes` of it as waiting; `end` if the driver
    /// adds nothing to it.
    fn wait_to_reply(&mut self, id: CallId, send_half: Box<SendHalf>, bytes: usize, end: bool) {
        if let Some(Entry { call, role }) = self.calls.theirs.get_mut(id) {
            call.send_half = Some(send_half);
            self.load.set_reply(&mut role.share, bytes);
        }
        self.enqueue_theirs(id, end);
    }

    /// Ends a call of theirs with a status, after the messages that are still to be sent. Does nothing if
    /// the call is over.
    pub fn end(&mut self, mut end: End) {
        let id = end.call;
        fit(&mut end, &self.peer, |metadata| self.chunk_room(metadata));
        let theirs = self.calls.theirs.get_mut(id);
        let waiting = theirs.and_then(|Entry { call, role }| {
            let send_half = call.send_half.as_mut();
            Some((send_half.filter(|send_half| !send_half.is_idle())?, role))
        });
        let Some((send_half, role)) = waiting else {
            return self.end_now(end);
        };
        self.load.add_reply(&mut role.share, end_bytes(&end));
        send_half.finish(end);
        self.enqueue_theirs(id, true);
    }

    /// Ends a call of theirs with a status, in place of the messages that are still to be sent.
    pub(super) fn end_now(&mut self, end: End) {
        let id = end.call;
        let (is_full, is_closed) = (self.is_full(), self.is_closed());
        let theirs = self.calls.theirs.get_mut(id).filter(|_| !is_closed);
        let Some(Entry { call, role }) = theirs else {
            return;
        };
        if is_full {
            self.load.set_reply(&mut role.share, end_bytes(&end));
            let send_half = &mut call.send_half;
            let send_half = send_half.get_or_insert_with(|| Box::new(SendHalf::new(0)));
            send_half.end_now(end);
            return self.enqueue_theirs(id, true);
        }
        Packet::End(end).put(&mut self.output);
        self.remove_theirs(id);
    }

    /// Queues a call of theirs in which the driver has sent something that has to wait; `last` if that
    /// ends the call.
    pub(super) fn enqueue_theirs(&mut self, id: CallId, last: bool) {
        if let Some(theirs) = self.calls.theirs.get_mut(id).filter(|_| last) {
            theirs.call.state.advance(Step::EndHere);
        }
        self.calls.enqueue(id);
    }
}

/// The memory that a status takes until it is sent, in bytes.
fn end_bytes(end: &End) -> usize {
    end.text.len() + end.details.len() + end.metadata.block_bytes()
}
