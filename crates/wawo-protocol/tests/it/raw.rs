//! One machine, and a peer that may send anything.

use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use wawo_protocol::{
    CallId, Config, Connection, ConnectionError, Event, Limits, Metadata, MethodId, PeerMisbehaved,
    ServiceId, Side,
    packet::{Call, Chunk, CreditOf, End, PREFACE, Packet, Reply, decode, decode_preface},
};

use crate::pair::beginning;

/// The machine of the accepting side; the test acts as the connecting side.
pub(crate) struct Raw {
    pub(crate) now: Instant,
    pub(crate) machine: Connection<u32>,
    pub(crate) input: BytesMut,
    prefaced: bool,
}

impl Raw {
    /// A machine before anything was sent.
    pub(crate) fn silent() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        let now = beginning();
        Self {
            now,
            machine: Connection::accepting(config, now),
            input: BytesMut::new(),
            prefaced: false,
        }
    }

    /// A machine after the hellos; the test's side has announced the minimum of each limit.
    pub(crate) fn open() -> Self {
        Self::open_with(Config::default())
    }

    pub(crate) fn open_with(config: Config) -> Self {
        Self::greeted_with(config).1
    }

    /// The hello of a machine, and the machine after the hellos.
    pub(crate) fn greeted() -> (Packet, Self) {
        Self::greeted_with(Config::default())
    }

    fn greeted_with(config: Config) -> (Packet, Self) {
        let mut raw = Self::with(config);
        let mut bytes = BytesMut::from(&PREFACE[..]);
        bytes.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        let events = raw.feed(&bytes).expect("an empty hello");
        assert!(matches!(events[..], [Event::Opened(_)]), "{events:?}");
        let mut said = raw.said();
        assert!(matches!(said[..], [Packet::Hello(_)]), "{said:?}");
        (said.remove(0), raw)
    }

    /// Sends bytes; returns the machine's events.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event<u32>>, ConnectionError> {
        self.input.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(event) = self.machine.poll_event(self.now, &mut self.input)? {
            if matches!(event, Event::Opened(_)) {
                self.machine
                    .accept(self.now, Bytes::new())
                    .expect("no credentials");
            }
            events.push(event);
        }
        Ok(events)
    }

    /// Sends bytes through direct reads, as far as they are possible.
    pub(crate) fn read_directly(
        &mut self,
        mut bytes: &[u8],
    ) -> Result<Vec<Event<u32>>, ConnectionError> {
        let mut events = Vec::new();
        while !bytes.is_empty()
            && let Some(mut room) = self.machine.direct_read(&mut self.input)
        {
            let (part, rest) = bytes.split_at(bytes.len().min(room.remaining_mut()));
            room.put_slice(part);
            bytes = rest;
            while let Some(event) = self.machine.poll_event(self.now, &mut self.input)? {
                events.push(event);
            }
        }
        events.extend(self.feed(bytes)?);
        Ok(events)
    }

    pub(crate) fn send(&mut self, packet: &Packet) -> Result<Vec<Event<u32>>, ConnectionError> {
        let mut bytes = BytesMut::new();
        packet.encode(&mut bytes);
        self.feed(&bytes)
    }

    /// Sends valid packets.
    pub(crate) fn send_all(&mut self, packets: &[Packet]) -> Vec<Event<u32>> {
        let events = packets.iter().flat_map(|packet| {
            let events = self.send(packet);
            events.unwrap_or_else(|error| panic!("{packet:?}: {error}"))
        });
        events.collect()
    }

    /// Sends an invalid packet; returns the violated rule.
    pub(crate) fn fault(&mut self, packet: &Packet) -> PeerMisbehaved {
        match self.send(packet) {
            Err(ConnectionError::PeerMisbehaved(fault)) => fault,
            other => panic!("{packet:?}: {other:?}"),
        }
    }

    /// The packets in the machine's output.
    pub(crate) fn said(&mut self) -> Vec<Packet> {
        let mut bytes = BytesMut::new();
        self.machine.fill_output();
        while !self.machine.output().is_empty() {
            let output = self.machine.output();
            let part = output.first().to_vec();
            output.advance(part.len());
            bytes.extend_from_slice(&part);
            self.machine.fill_output();
        }
        if !self.prefaced {
            self.prefaced = decode_preface(&mut bytes).expect("our own preface");
        }
        let mut packets = Vec::new();
        while let Some(packet) = decode(&mut bytes, &ANY).expect("our own packets") {
            packets.push(packet);
        }
        assert!(bytes.is_empty());
        packets
    }
}

/// No limits, for reading the machine's output.
const ANY: Limits = {
    let mut limits = Limits::MINIMUM;
    limits.max_packet_bytes = 1 << 30;
    limits
};

/// The id of the n-th call slot of the test's side.
pub(crate) fn theirs(index: u32) -> CallId {
    CallId::new(Side::Connecting, index)
}

/// The id of the n-th call slot of the machine's side.
pub(crate) fn ours(index: u32) -> CallId {
    CallId::new(Side::Accepting, index)
}

/// A whole message that ends its direction.
pub(crate) fn last(bytes: impl Into<Bytes>) -> Chunk {
    Chunk {
        end: true,
        ..whole(bytes)
    }
}

/// A whole message.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Chunk {
    Chunk {
        bytes: bytes.into(),
        total: None,
        more: false,
        end: false,
    }
}

/// The first chunk of a message of `total` bytes.
pub(crate) fn first(bytes: impl Into<Bytes>, total: u32) -> Chunk {
    Chunk {
        total: Some(total),
        more: true,
        ..whole(bytes)
    }
}

/// A chunk in the middle.
pub(crate) fn more(bytes: impl Into<Bytes>) -> Chunk {
    Chunk {
        more: true,
        ..whole(bytes)
    }
}

/// A call of the test's side that begins with `chunk`.
pub(crate) fn call(index: u32, chunk: impl Into<Option<Chunk>>) -> Packet {
    call_as(theirs(index), chunk)
}

pub(crate) fn call_as(id: CallId, chunk: impl Into<Option<Chunk>>) -> Packet {
    Packet::Call(Call {
        call: Some(id),
        service: ServiceId(7),
        method: MethodId(1),
        timeout_ms: None,
        one_way: false,
        metadata: Metadata::new(),
        chunk: chunk.into(),
    })
}

/// A one-way call; with an `id` if it is sent in chunks.
pub(crate) fn one_way(id: Option<CallId>, chunk: Chunk) -> Packet {
    Packet::Call(Call {
        call: id,
        service: ServiceId(7),
        method: MethodId(1),
        timeout_ms: None,
        one_way: true,
        metadata: Metadata::new(),
        chunk: Some(chunk),
    })
}

pub(crate) fn reply(call: CallId, chunk: impl Into<Option<Chunk>>) -> Packet {
    Packet::Reply(Reply {
        call,
        metadata: Metadata::new(),
        chunk: chunk.into(),
    })
}

pub(crate) fn message(call: CallId, chunk: Chunk) -> Packet {
    Packet::Message {
        call,
        chunk,
        continues: false,
    }
}

pub(crate) fn continued(call: CallId, chunk: Chunk) -> Packet {
    Packet::Message {
        call,
        chunk,
        continues: true,
    }
}

/// The end of a direction, with nothing but its code.
pub(crate) fn end(call: CallId, code: wawo_protocol::Code) -> Packet {
    Packet::End(End {
        call,
        code,
        refused: false,
        metadata: Metadata::new(),
        text: String::new(),
        details: Bytes::new(),
    })
}

pub(crate) fn credit(of: CreditOf, bytes: u32) -> Packet {
    Packet::Credit { of, bytes }
}
