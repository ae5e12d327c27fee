//! Reads the most common packets fast: calls, replies and messages that are whole in one packet and have
//! no metadata. They skip the steps, and the copies, that all other packets need.
//!
//! Each function here recognises one kind of packet, and counts it with the functions that all other
//! packets go through. It leaves any other packet, and any that breaks a rule, to
//! [`Connection::poll_event`].

use std::{ops::Range, time::Instant};

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    connection::{event::InboundCall, machine::Connection},
    id::CallId,
    message::first_within,
    packet::{self, Batch, HEADER_BYTES},
};

impl<T> Connection<T> {
    /// The next call, if it is whole in one packet and has one message and no metadata. Any other packet,
    /// also one that breaks a rule, is left to [`poll_event`](Self::poll_event). If `copy` returns
    /// `None`, the message is not copied: it shares the buffer of the input.
    pub fn poll_call(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        copy: impl FnOnce(&[u8]) -> Option<Bytes>,
    ) -> Option<InboundCall> {
        if self.state.is_draining_here() || !self.reads_packets() {
            return None;
        }
        let fast = packet::fast_call(input, self.config.limits())?;
        let (length, timeout_ms) = (fast.message_len(), fast.timeout_ms);
        let deadline = self.their_timeouts.deadline(now, timeout_ms, &self.config);
        let cost = match fast.call {
            None => self.pay_one_way(length, 0).ok()?,
            Some(id) => {
                self.open_whole(now, id, length, timeout_ms, deadline)?;
                0
            }
        };
        self.calls.theirs.count_begun(1);
        let message = self.take_message(now, input, fast.message_at..fast.end, copy);
        Some(InboundCall {
            call: fast.call,
            service: fast.service,
            method: fast.method,
            deadline,
            metadata: Default::default(),
            message: Some(message),
            end: true,
            cost,
        })
    }

    /// The next reply that ends a call of ours, if it is whole in one packet and has no metadata: the
    /// token of the call, and the message. Any other packet is left to [`poll_event`](Self::poll_event).
    pub fn poll_reply(&mut self, now: Instant, input: &mut BytesMut) -> Option<(T, Bytes)> {
        if !self.reads_packets() {
            return None;
        }
        let (id, end) = packet::fast_reply(input, self.config.limits())?;
        if !self.calls.is_ours(id) || !self.needs_no_credit(end - HEADER_BYTES) {
            return None;
        }
        let token = self.end_with_reply(now, id)?;
        let message = self.take_message(now, input, HEADER_BYTES..end, |_| None);
        Some((token, message))
    }

    /// The next messages of a stream, each whole in one packet, read at once: most messages of a stream
    /// are followed by another. Any other packet is left to [`poll_event`](Self::poll_event), which need
    /// not be called in between.
    pub fn poll_batch(&mut self, call: CallId, input: &mut BytesMut) -> Option<Batch> {
        if !self.reads_packets() {
            return None;
        }
        let limits = self.config.limits();
        let (in_flight, credit) = self.calls.get(call);
        let in_flight = in_flight?;
        let recv_half = in_flight.recv_half_for_batch()?;
        let (max, mut largest) = (limits.max_message_bytes as usize, 0);
        let (own_credit, shared_credit) = (recv_half.credit(), credit.recv.available());
        // A message that breaks a rule is left to `poll_event`, which reports it.
        let (messages, length) = first_within(own_credit, shared_credit, HEADER_BYTES, |at| {
            let length = packet::fast_message(&input[at..], call, limits)?;
            largest = largest.max(length);
            (length <= max).then_some(length)
        });
        if messages == 0 {
            return None;
        }
        let batch = Batch::from_packets(input.split_to(length).freeze(), messages, largest);
        recv_half.add_received(batch.message_bytes());
        in_flight.hold(batch.cost());
        credit.recv.pay(batch.cost());
        self.grant_call(call);
        self.packets_taken(input.len());
        Some(batch)
    }

    /// Whether the next packet may be read: the driver must first have got all events of the packets
    /// before it, or events would change their order.
    #[inline]
    fn reads_packets(&self) -> bool {
        self.is_open() && self.events.is_empty()
    }

    /// Takes the first packet, which ends with its message, off the input, and returns the message.
    #[inline]
    fn take_message(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        message: Range<usize>,
        copy: impl FnOnce(&[u8]) -> Option<Bytes>,
    ) -> Bytes {
        self.now = now;
        self.health.record_input(now);
        self.packets_taken(input.len() - message.end);
        match copy(&input[message.clone()]) {
            Some(copied) => {
                input.advance(message.end);
                copied
            }
            None => {
                let mut packet = input.split_to(message.end);
                packet.advance(message.start);
                packet.freeze()
            }
        }
    }

    /// Records that useful packets were taken off the input, and that `left` bytes of it are left.
    #[inline]
    fn packets_taken(&mut self, left: usize) {
        self.flood_guard.reset();
        self.input.packet_done();
        self.input.set_left(left);
    }
}
