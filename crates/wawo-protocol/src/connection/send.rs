//! The messages of a stream of this side, in a call of either side.

use bytes::Bytes;

use crate::{
    call::{SendCredit, SendHalf},
    code::Code,
    connection::{Connection, Refusal, start::check_metadata},
    id::CallId,
    metadata::Metadata,
    packet::{Batch, BodyFlags, Packet, put_chunk},
};

impl<T> Connection<T> {
    pub(crate) fn check_reply(&self, metadata: &Metadata, length: usize) -> Result<(), Refusal> {
        if length > self.peer.max_message_bytes as usize {
            return Err(Refusal::MessageTooLarge {
                length,
                max: self.peer.max_message_bytes,
            });
        }
        check_metadata(metadata, &self.peer)
    }

    /// Sends the next messages of a stream, in a call of either side. Does nothing if the
    /// direction is over. Returns how many of them, with how many bytes, have left; the others
    /// wait, and [`Event::Writable`](crate::Event::Writable) follows when they have left too.
    ///
    /// # Errors
    ///
    /// If a message is larger than the other side takes; those before it are sent.
    pub fn send_batch(&mut self, call: CallId, messages: Batch) -> Result<SentCount, Refusal> {
        let room = self.chunk_room(0).min(self.peer.max_message_bytes as usize);
        let is_full = self.is_full();
        if self.is_closed() || messages.largest() > room {
            return self.send_each(call, messages);
        }
        let (send_half, shared_credit) = self.send_half_of(call);
        let Some(send_half) = send_half else {
            return Ok(SentCount::all(&messages));
        };
        if !is_full && send_half.spend_for_batch(&messages, shared_credit) {
            let sent = SentCount::all(&messages);
            self.output.link_or_copy(messages.into_packets());
            return Ok(sent);
        }
        send_half.push_batch(messages);
        self.enqueue(call);
        Ok(SentCount::default())
    }

    /// Sends messages of which some have to leave in chunks.
    fn send_each(&mut self, call: CallId, messages: Batch) -> Result<SentCount, Refusal> {
        let mut sent = SentCount::default();
        for message in messages {
            let bytes = message.len();
            if self.send_message(call, message, false)? {
                sent.messages += 1;
                sent.bytes += bytes;
            }
        }
        Ok(sent)
    }

    /// The send half of a direction of ours, and the credit of all calls that it needs.
    pub(crate) fn send_half_of(
        &mut self,
        call: CallId,
    ) -> (Option<&mut SendHalf>, &mut SendCredit) {
        match call.side() == self.side {
            true => {
                let ours = self.ours.get_mut(call.index());
                let send_half = ours.and_then(|ours| ours.send_half.as_deref_mut());
                (send_half, &mut self.request_send_credit)
            }
            false => {
                let theirs = self.theirs.get_mut(call.index());
                let send_half = theirs.and_then(|theirs| theirs.send_half.as_deref_mut());
                (send_half, &mut self.reply_send_credit)
            }
        }
    }

    /// Lets a call stand in the queue of those that have something to send, if it has.
    pub(crate) fn enqueue(&mut self, call: CallId) {
        if let (Some(send_half), _) = self.send_half_of(call)
            && !send_half.is_idle()
            && !send_half.is_queued
        {
            send_half.is_queued = true;
            self.send_queue.push_back(call);
        }
    }

    /// Sends the next message of a stream, in a call of either side; `end` if it is the last
    /// request. Does nothing if the direction is over.
    ///
    /// Returns whether there is room for another one now; if not, [`Event::Writable`](crate::Event::Writable) follows.
    ///
    /// # Errors
    ///
    /// If the message is larger than the other side takes.
    pub fn send_message(
        &mut self,
        call: CallId,
        message: Bytes,
        end: bool,
    ) -> Result<bool, Refusal> {
        if self.is_closed() {
            return Ok(true);
        }
        self.check_reply(&Metadata::new(), message.len())?;
        let (room, full) = (self.chunk_room(0), self.is_full());
        let ours = call.side() == self.side;
        let (send_half, shared_credit) = self.send_half_of(call);
        let Some(send_half) = send_half else {
            return Ok(true);
        };
        if full || !send_half.spend(message.len(), room, shared_credit) {
            send_half.push(message.into(), end);
            match ours {
                true => self.enqueue(call),
                false => self.queued_theirs(call, end),
            }
            return Ok(false);
        }
        put_chunk(
            &mut self.output,
            call,
            message.into(),
            BodyFlags::whole(end),
        );
        if end {
            self.direction_ended(call);
        }
        Ok(true)
    }

    /// Ends the requests of a call of ours, after what is still to be sent. Does nothing if they
    /// have ended.
    pub fn finish(&mut self, call: CallId) {
        if self.is_closed() {
            return;
        }
        let end = Self::end_packet(call, Code::Ok, "");
        match self.our_send_half(call) {
            None => {}
            Some(send_half) if send_half.is_idle() => {
                Packet::End(end).put(&mut self.output);
                self.our_direction_ended(call);
            }
            Some(send_half) => send_half.finish(end),
        }
    }

    fn direction_ended(&mut self, call: CallId) {
        match call.side() == self.side {
            true => self.our_direction_ended(call),
            false => drop(self.remove_theirs(call)),
        }
    }
}

/// What of messages that were to be sent has left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentCount {
    /// How many of them.
    pub messages: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl SentCount {
    fn all(messages: &Batch) -> Self {
        Self {
            messages: messages.len(),
            bytes: messages.message_bytes(),
        }
    }
}
