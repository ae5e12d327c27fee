//! Sends the messages of this side, in a call of either role.

use crate::{
    call::Next,
    code::Code,
    connection::{event::Event, machine::Connection, refusal::Refusal},
    id::CallId,
    packet::{Batch, Packet, put_chunk, put_reply},
    time::after,
};

/// The bytes with which [`Connection::fill_output`] counts the output as worth a write. More would only wait
/// there, and delay packets that are put behind them.
const FILLED_BYTES: usize = 64 * 1024;

impl<T> Connection<T> {
    /// Sends the next messages of a stream, in a call of either side. Does nothing if the direction is over.
    /// Returns how many messages have left, and their bytes; the others wait, and
    /// [`Event::Writable`](crate::Event::Writable) follows when they have left too.
    ///
    /// # Errors
    ///
    /// If a message is larger than the other side takes. The messages before it are sent.
    pub fn send_batch(&mut self, call: CallId, mut messages: Batch) -> Result<SentCount, Refusal> {
        let (room, max) = (self.chunk_room(0), self.peer.max_message_bytes);
        let (is_full, is_closed) = (self.is_full(), self.is_closed());
        let send_half = self.calls.send_half(call).filter(|_| !is_closed);
        let Some((send_half, credit)) = send_half else {
            return Ok(SentCount::of(&messages));
        };
        let too_large = messages.cut_off_above(max as usize);
        let mut sent = SentCount::default();
        if !is_full && send_half.is_idle() {
            let first = send_half.take_first(&mut messages, room, &mut credit.send);
            sent = SentCount::of(&first);
            self.output.link_or_copy(first.into_packets());
        }
        if messages.len() > 0 {
            send_half.push_batch(messages);
            self.calls.enqueue(call);
        }
        match too_large {
            Some(length) => Err(Refusal::MessageTooLarge { length, max }),
            None => Ok(sent),
        }
    }

    /// Ends the requests of a call of ours, after those that are still to be sent. Does nothing if they have
    /// ended.
    pub fn finish(&mut self, call: CallId) {
        if self.is_closed() {
            return;
        }
        let end = Self::end_packet(call, Code::Ok, "");
        let ours = self.calls.ours.get_mut(call);
        match ours.and_then(|ours| ours.call.send_half.as_deref_mut()) {
            None => {}
            Some(send_half) if send_half.is_idle() => {
                Packet::End(end).put(&mut self.output);
                self.direction_ended(call);
            }
            Some(send_half) => send_half.finish(end),
        }
    }

    /// Ends the direction of this side. For a callee, that ends the call.
    fn direction_ended(&mut self, id: CallId) {
        if !self.calls.is_ours(id) {
            return self.remove_theirs(id);
        }
        if let Some(ours) = self.calls.ours.get_mut(id) {
            ours.call.send_half = None;
            if ours.call.is_one_way {
                self.take_ours(id);
            }
        }
    }

    /// Moves message bytes that wait for their turn into the output, a chunk of each call after
    /// the other, until the output is worth a write. Call it before writing.
    pub fn fill_output(&mut self) {
        // A close packet is the last one: nothing may follow it.
        if self.is_closed() {
            return;
        }
        self.write_progress.update(&self.output);
        if !self.is_full() {
            self.grant_shared_credit();
            self.grant_withheld();
        }
        // A write costs about the same for few bytes as for many, and chunks may be small, so several are
        // put together. At least one leaves each time; else packets that bypass the queue could fill the
        // output each time and hold up the queue for ever.
        let mut is_first = !self.is_full();
        while std::mem::take(&mut is_first) || self.output.len() < FILLED_BYTES {
            let Some(call) = self.calls.dequeue() else {
                break;
            };
            self.send_next(call);
        }
        // One-way messages whose last chunk has left have freed their slots, which calls may wait for.
        if self.calls_waiting() > 0 {
            self.admit_waiting(self.now);
        }
    }

    /// Sends the next chunk of a call, or the next messages that need no chunks.
    fn send_next(&mut self, id: CallId) {
        let room = self.chunk_room(0);
        let Some((send_half, credit)) = self.calls.send_half(id) else {
            return;
        };
        send_half.is_queued = false;
        match send_half.next(room, &mut credit.send) {
            Next::Chunk(bytes, flags, opening) => {
                send_half.is_queued = !flags.end;
                match opening {
                    Some(metadata) => {
                        put_reply(&mut self.output, id, &metadata, Some((bytes, flags)));
                    }
                    None => put_chunk(&mut self.output, id, bytes, flags),
                }
                match flags.end {
                    true => self.direction_ended(id),
                    false => self.calls.requeue(id),
                }
            }
            Next::Batch(messages) => {
                send_half.is_queued = true;
                self.output.link_or_copy(messages.into_packets());
                self.calls.requeue(id);
            }
            Next::End(end) => {
                Packet::End(end).put(&mut self.output);
                self.direction_ended(id);
            }
            next @ (Next::NeedsCallCredit | Next::NeedsSharedCredit) => {
                let until = after(send_half.stall(self.now), self.config.stall_timeout());
                if matches!(next, Next::NeedsSharedCredit) {
                    send_half.is_queued = true;
                    credit.blocked.push_back(id);
                }
                self.watch_deadline(Some(until));
            }
            Next::Idle => self.events.push_back(Event::Writable(id)),
        }
    }

    /// Whether [`fill_output`](Self::fill_output) would move something.
    pub fn wants_output(&self) -> bool {
        !self.is_closed() && self.calls.has_queued() && !self.is_full()
    }

    /// The message bytes that fit into a packet beside metadata of this length and the largest fixed part.
    pub(super) fn chunk_room(&self, metadata_bytes: usize) -> usize {
        // Service, method, timeout and total: 16 bytes. The minimum of `max_packet_bytes` and
        // the limit on metadata leave room.
        (self.peer.max_packet_bytes as usize).saturating_sub(16 + metadata_bytes)
    }
}

/// The part of a batch that has left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentCount {
    /// Messages that have left.
    pub messages: usize,
    /// The bytes of those messages.
    pub bytes: usize,
}

impl SentCount {
    fn of(messages: &Batch) -> Self {
        Self {
            messages: messages.len(),
            bytes: messages.message_bytes(),
        }
    }
}
