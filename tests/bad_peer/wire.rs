//! Packets as bytes, valid or not: a head with any fields, and any payload.

use bytes::Bytes;
use prost::Message as _;

use crate::service::echo::{Message, RepeatRequest};

pub(crate) const HELLO: u8 = 1;
pub(crate) const PING: u8 = 2;
pub(crate) const PONG: u8 = 3;
pub(crate) const DRAIN: u8 = 4;
pub(crate) const CLOSE: u8 = 5;
pub(crate) const CALL: u8 = 6;
pub(crate) const REPLY: u8 = 7;
pub(crate) const MESSAGE: u8 = 8;
pub(crate) const END_OF: u8 = 9;
pub(crate) const CANCEL: u8 = 10;
pub(crate) const CREDIT: u8 = 11;
pub(crate) const MOVE: u8 = 128;

pub(crate) const END: u8 = 0x01;
pub(crate) const MORE: u8 = 0x02;
pub(crate) const METADATA: u8 = 0x04;
pub(crate) const TIMEOUT: u8 = 0x08;
pub(crate) const ONE_WAY: u8 = 0x10;
pub(crate) const NO_MESSAGE: u8 = 0x20;
pub(crate) const CONTINUES: u8 = 0x40;
pub(crate) const REPLIES: u8 = 0x80;

/// The ids of the service under test and of its methods (proto/tests/echo.proto).
pub(crate) const SERVICE: u32 = 7;
pub(crate) const SAY: u32 = 1;
pub(crate) const ACT: u32 = 2;
pub(crate) const NOTE: u32 = 3;
pub(crate) const REPEAT: u32 = 4;
pub(crate) const JOIN: u32 = 5;
pub(crate) const TALK: u32 = 6;

/// A packet that is built field by field.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    kind: u8,
    flags: u8,
    code: u16,
    call: u32,
    /// The length in the head, if it differs from the length of the payload.
    claim: Option<u32>,
    payload: Vec<u8>,
}

/// Begins a packet without flags, payload or call.
pub(crate) fn packet(kind: u8) -> Wire {
    Wire {
        kind,
        flags: 0,
        code: 0,
        call: 0,
        claim: None,
        payload: Vec::new(),
    }
}

impl Wire {
    pub(crate) fn flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    pub(crate) fn code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }

    pub(crate) fn call(mut self, call: u32) -> Self {
        self.call = call;
        self
    }

    pub(crate) fn claim(mut self, length: u32) -> Self {
        self.claim = Some(length);
        self
    }

    pub(crate) fn u16(self, number: u16) -> Self {
        self.bytes(number.to_be_bytes())
    }

    pub(crate) fn u32(self, number: u32) -> Self {
        self.bytes(number.to_be_bytes())
    }

    pub(crate) fn u64(self, number: u64) -> Self {
        self.bytes(number.to_be_bytes())
    }

    pub(crate) fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.payload.extend_from_slice(bytes.as_ref());
        self
    }

    /// Adds an entry to a metadata block or a hello, as raw bytes.
    pub(crate) fn entry(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let (key, value) = (key.as_ref(), value.as_ref());
        let this = self.bytes([key.len() as u8]).bytes(key);
        this.u16(value.len() as u16).bytes(value)
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let length = self.claim.unwrap_or(self.payload.len() as u32);
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[self.kind, self.flags]);
        bytes.extend_from_slice(&self.code.to_be_bytes());
        bytes.extend_from_slice(&self.call.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

impl From<Wire> for Vec<u8> {
    fn from(wire: Wire) -> Self {
        wire.build()
    }
}

/// Begins a call of a method of the service, up to its message.
pub(crate) fn call(id: u32, method: u32, flags: u8) -> Wire {
    let call = packet(CALL).flags(flags).call(id);
    call.u32(SERVICE).u32(method)
}

/// A whole unary call.
pub(crate) fn unary(id: u32, method: u32, data: &'static str) -> Wire {
    call(id, method, END).bytes(message(data))
}

/// A call with a stream of requests, without a first message.
pub(crate) fn stream(id: u32, method: u32) -> Wire {
    call(id, method, NO_MESSAGE)
}

/// A call with a single entry of metadata.
pub(crate) fn unary_with(id: u32, method: u32, data: &'static str, entry: (&str, &str)) -> Wire {
    let call = call(id, method, END | METADATA);
    call.u16(1).entry(entry.0, entry.1).bytes(message(data))
}

/// A stream with a single entry of metadata.
pub(crate) fn stream_with(id: u32, method: u32, entry: (&str, &str)) -> Wire {
    let call = call(id, method, NO_MESSAGE | METADATA);
    call.u16(1).entry(entry.0, entry.1)
}

/// A one-way call in a single packet.
pub(crate) fn note(data: &'static str) -> Wire {
    call(0, NOTE, END | ONE_WAY).bytes(message(data))
}

/// A call that is answered with `times` messages of `length` bytes.
pub(crate) fn repeat(id: u32, length: usize, times: u32) -> Wire {
    let request = RepeatRequest {
        data: vec![b'r'; length].into(),
        times,
    };
    call(id, REPEAT, END).bytes(request.encode_to_vec())
}

/// The next message of a stream.
pub(crate) fn next(id: u32, message: impl AsRef<[u8]>) -> Wire {
    packet(MESSAGE).call(id).bytes(message)
}

pub(crate) fn cancel(id: u32) -> Wire {
    packet(CANCEL).call(id)
}

/// Credit for a call, or for the requests of all.
pub(crate) fn credit(id: u32, bytes: u32) -> Wire {
    packet(CREDIT).call(id).u32(bytes)
}

pub(crate) fn ping(data: u64) -> Wire {
    packet(PING).u64(data)
}

/// A message of the service, encoded.
pub(crate) fn message(data: impl Into<Bytes>) -> Vec<u8> {
    Message { data: data.into() }.encode_to_vec()
}

/// An entry of a hello.
pub(crate) fn hello_entry(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut entry = kind.to_be_bytes().to_vec();
    entry.extend_from_slice(&(value.len() as u32).to_be_bytes());
    entry.extend_from_slice(value);
    entry
}
