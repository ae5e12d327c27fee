//! What this side answers to the calls of the other side.

use crate::{
    call::{Next, SendHalf},
    code::Code,
    connection::{Connection, Event, fit::fit, start::metadata_bytes, waiting_replies::end_bytes},
    id::CallId,
    message::MessageBytes,
    metadata::Metadata,
    packet::{End, Packet, put_chunk, put_reply},
    time::after,
};

impl<T> Connection<T> {
    /// Answers a call of theirs with one message, and so ends it. Does nothing if the call is
    /// over.
    pub fn reply(&mut self, call: CallId, metadata: Metadata, message: impl Into<MessageBytes>) {
        self.begin_reply(call, metadata, Some(message.into()), true);
    }

    /// Begins the reply to a call of theirs, which is a stream. Returns whether it may go on; if
    /// not, the call is over.
    pub fn open_reply(&mut self, call: CallId, metadata: Metadata) -> bool {
        self.admit_stream(call) && self.begin_reply(call, metadata, None, false)
    }

    fn begin_reply(
        &mut self,
        id: CallId,
        metadata: Metadata,
        message: Option<MessageBytes>,
        end: bool,
    ) -> bool {
        let theirs = self.theirs.get(id.index());
        let Some(theirs) = theirs.filter(|theirs| !theirs.ended && !self.is_closed()) else {
            return false;
        };
        let credit = theirs.credit;
        let length = message.as_ref().map_or(0, MessageBytes::len);
        if let Err(reason) = self.check_reply(&metadata, length) {
            let text = format!("the reply has {reason}");
            self.end(Self::end_packet(id, Code::ResourceExhausted, text));
            return false;
        }
        if self.is_over_replies(length) {
            self.end(self.too_many_replies(id, length));
            return false;
        }
        let message = match message {
            Some(message) if self.is_full() => {
                self.enqueue_reply(id, metadata, message, end);
                return true;
            }
            message => message,
        };
        let room = self.chunk_room(metadata.encoded_len());
        let (first, send_half) = SendHalf::open(message, end, credit, room);
        put_reply(&mut self.output, id, &metadata, first);
        match (self.theirs.get_mut(id.index()), send_half) {
            (Some(theirs), Some(send_half)) => {
                theirs.send_half = Some(send_half);
                theirs.ended = end;
                self.set_waiting_reply(id, length);
                self.enqueue(id);
            }
            _ => drop(self.remove_theirs(id)),
        }
        true
    }

    /// Lets a reply wait, as a whole, until there is room for it.
    fn enqueue_reply(&mut self, id: CallId, metadata: Metadata, message: MessageBytes, end: bool) {
        self.set_waiting_reply(id, message.len() + metadata_bytes(&metadata));
        if let Some(theirs) = self.theirs.get_mut(id.index()) {
            let mut send_half = Box::new(SendHalf::new(theirs.credit));
            send_half.push_first(message, end);
            theirs.unopened = Some(Box::new(metadata));
            theirs.send_half = Some(send_half);
        }
        self.queued_theirs(id, end);
    }

    /// Ends a call of theirs with a status, after what is still to be sent. Does nothing if the
    /// call is over.
    pub fn end(&mut self, mut end: End) {
        let id = end.call;
        fit(&mut end, &self.peer, |metadata| self.chunk_room(metadata));
        match self
            .their_send_half(id)
            .filter(|send_half| !send_half.is_idle())
        {
            Some(send_half) => {
                let bytes = end_bytes(&end);
                send_half.finish(end);
                self.add_waiting_reply(id, bytes);
                self.queued_theirs(id, true);
            }
            None => self.end_now(end),
        }
    }

    /// Ends a call of theirs with a status, in place of what is still to be sent.
    pub(crate) fn end_now(&mut self, end: End) {
        let id = end.call;
        if self.is_closed() || self.theirs.get(id.index()).is_none() {
            return;
        }
        if !self.is_full() {
            Packet::End(end).put(&mut self.output);
            drop(self.remove_theirs(id));
            return;
        }
        self.set_waiting_reply(id, end_bytes(&end));
        if let Some(theirs) = self.theirs.get_mut(id.index()) {
            let send_half = &mut theirs.send_half;
            let send_half = send_half.get_or_insert_with(|| Box::new(SendHalf::new(0)));
            send_half.end_now(end);
        }
        self.queued_theirs(id, true);
    }

    pub(crate) fn their_send_half(&mut self, id: CallId) -> Option<&mut SendHalf> {
        self.theirs.get_mut(id.index())?.send_half.as_deref_mut()
    }

    /// Something of the driver's waits to be sent in a call of theirs.
    pub(crate) fn queued_theirs(&mut self, id: CallId, last: bool) {
        if let Some(theirs) = self.theirs.get_mut(id.index()) {
            theirs.ended |= last;
        }
        self.enqueue(id);
    }

    /// Sends the next chunk of a call of theirs.
    pub(crate) fn send_theirs(&mut self, id: CallId) {
        let Some(theirs) = self.theirs.get_mut(id.index()) else {
            return;
        };
        let metadata = theirs.unopened.as_ref();
        let metadata = metadata.map_or(0, |metadata| metadata_bytes(metadata));
        let room = self.chunk_room(metadata);
        let Some(theirs) = self.theirs.get_mut(id.index()) else {
            return;
        };
        let Some(send_half) = &mut theirs.send_half else {
            return;
        };
        send_half.is_queued = false;
        match send_half.next(room, &mut self.reply_send_credit) {
            Next::Chunk(bytes, flags) => {
                send_half.is_queued = !flags.end;
                match theirs.unopened.take() {
                    Some(opening) => {
                        put_reply(&mut self.output, id, &opening, Some((bytes, flags)));
                    }
                    None => put_chunk(&mut self.output, id, bytes, flags),
                }
                match flags.end {
                    true => drop(self.remove_theirs(id)),
                    false => self.send_queue.push_back(id),
                }
            }
            Next::Batch(messages) => {
                send_half.is_queued = true;
                self.output.link_or_copy(messages.into_packets());
                self.send_queue.push_back(id);
            }
            Next::End(end) => {
                Packet::End(end).put(&mut self.output);
                drop(self.remove_theirs(id));
            }
            next @ (Next::NeedsCallCredit | Next::NeedsSharedCredit) => {
                let until = after(send_half.stall(self.now), self.config.stall_timeout());
                if matches!(next, Next::NeedsSharedCredit) {
                    send_half.is_queued = true;
                    self.blocked_replies.push_back(id);
                }
                self.watch_deadline(Some(until));
            }
            Next::Idle => self.events.push_back(Event::Writable(id)),
        }
    }
}
