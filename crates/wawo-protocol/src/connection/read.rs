//! Reads the input of a connection: packets from the buffer, and large chunks that are read directly.

use std::time::Instant;

use bytes::{Bytes, BytesMut, buf::Limit};

use crate::{
    connection::{
        direct_read::{DirectRead, MIN_DIRECT_READ_BYTES},
        event::Event,
        machine::Connection,
        state::Step,
    },
    error::ConnectionError,
    limits::Limits,
    packet::{self, Chunk, HEADER_BYTES, Packet},
};

impl<T> Connection<T> {
    /// The next event, from packets in `input` or from a timeout. `None` when all whole packets in
    /// `input` have been read; the bytes that are left there are the start of a packet. Also `None` while
    /// this side owes its [`accept`](Self::accept).
    ///
    /// # Errors
    ///
    /// When the connection is over: by a close packet, or because the other side broke a rule. Then the
    /// output has the close packet that tells the other side of it, and
    /// [`take_calls`](Self::take_calls) returns the calls that end with the connection.
    pub fn poll_event(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
    ) -> Result<Option<Event<T>>, ConnectionError> {
        self.now = now;
        // Any byte shows that the other side is alive, even if its packet is not whole.
        let direct_read = self.direct_read.as_mut();
        if self.input.has_grown(input.len())
            || direct_read.is_some_and(|direct_read| direct_read.has_grown())
        {
            self.health.record_input(now);
        }
        loop {
            if let Some(event) = self.events.pop_front() {
                self.input.set_left(input.len());
                return Ok(Some(event));
            }
            // The packets behind the hello are not read before this side has answered it.
            if !self.state.takes_input() {
                return Ok(None);
            }
            let read = self.read(now, input);
            self.input.set_left(input.len());
            match read {
                Ok(Some(event)) => return Ok(Some(event)),
                Ok(None) if self.events.is_empty() => return Ok(None),
                Ok(None) => {}
                Err(error) => {
                    self.end_with(&error);
                    return Err(error);
                }
            }
        }
    }

    /// Reads packets until one leads to an event for the driver.
    fn read(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
    ) -> Result<Option<Event<T>>, ConnectionError> {
        if self.state.expects_preface() {
            if !packet::decode_preface(input).map_err(ConnectionError::PeerMisbehaved)? {
                return Ok(None);
            }
            self.state.take(Step::Preface);
        }
        loop {
            let packet = match self.direct_read.is_some() {
                true => Ok(self.finish_direct_read(input)),
                false => packet::decode(input, self.limits_now()),
            };
            let Some(packet) = packet.map_err(ConnectionError::PeerMisbehaved)? else {
                if !input.is_empty() || self.direct_read.is_some() {
                    self.input.wait_for_packet(now);
                }
                return Ok(None);
            };
            self.input.packet_done();
            if let Some(event) = self.handle_packet(now, packet)? {
                return Ok(Some(event));
            }
            // The driver gets the events of a packet before the next packet is read. That one may refer
            // to a call that has only just started, which the driver has to know first.
            if !self.events.is_empty() {
                return Ok(None);
            }
        }
    }

    /// The limits for the next packet. The first one of the other side has to be a hello, so none may be
    /// longer in its place.
    #[inline]
    fn limits_now(&self) -> &Limits {
        match self.state.expects_hello() {
            true => &Limits::MINIMUM,
            false => self.config.limits(),
        }
    }

    /// The buffer to read the next bytes of the transport into, if they belong to a chunk of a large
    /// message; `None` if they go to the end of `input`. Call [`poll_event`](Self::poll_event) after
    /// reading, as for any other bytes. A driver need not call this; then all chunks are copied.
    pub fn direct_read(&mut self, input: &mut BytesMut) -> Option<Limit<&mut BytesMut>> {
        if self.direct_read.is_none() && self.is_open() {
            self.direct_read = self.begin_direct_read(input).map(Box::new);
        }
        let buffer_pool = self.buffer_pool.at(self.now);
        self.direct_read
            .as_mut()
            .map(|direct_read| direct_read.room(buffer_pool))
    }

    /// An empty buffer with room for `room` bytes, and its size. It held a message that is no longer
    /// used. `None` if there is no such buffer.
    pub fn reuse_buffer(&mut self, room: usize) -> Option<(BytesMut, usize)> {
        self.buffer_pool.at(self.now).reuse(room)
    }

    /// Keeps a buffer of `size` bytes, to be [used again](Self::reuse_buffer) once no message shares
    /// it. All kept buffers are freed when none has been used for a second.
    pub fn keep_buffer(&mut self, buffer: BytesMut, size: usize) {
        self.buffer_pool.at(self.now).keep(buffer, size);
    }

    fn begin_direct_read(&mut self, input: &mut BytesMut) -> Option<DirectRead> {
        let header = packet::partial_chunk(input, self.config.limits())?;
        if header.length < MIN_DIRECT_READ_BYTES {
            return None;
        }
        let buffer = self.calls.recv_half(header.call)?.lend(header.length)?;
        let pool = self.buffer_pool.at(self.now);
        let direct_read = DirectRead::new(header, buffer, &input[HEADER_BYTES..], pool);
        input.clear();
        self.input.set_left(0);
        Some(direct_read)
    }

    /// The chunk that was read directly, if it is whole.
    fn finish_direct_read(&mut self, input: &mut BytesMut) -> Option<Packet> {
        let direct_read = self.direct_read.take_if(|read| read.is_whole())?;
        let (header, buffer) = direct_read.finish(input);
        // If the call is over, the chunk is dropped.
        if let Some(recv_half) = self.calls.recv_half(header.call) {
            recv_half.take_back(buffer, header.length);
        }
        Some(Packet::Message {
            call: header.call,
            chunk: Chunk {
                bytes: Bytes::new(),
                total: None,
                more: header.more,
                end: header.end,
            },
            continues: true,
        })
    }
}
