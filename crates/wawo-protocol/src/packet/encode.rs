//! Encodes packets to bytes.

use bytes::{BufMut, BytesMut};

use crate::{
    hello,
    id::{CallId, MethodId, ServiceId},
    message::MessageBytes,
    metadata::Metadata,
    output::Output,
    packet::{
        CreditOf, End, Packet,
        cut::{cut, marked},
        header::{
            CONTINUES, END, Kind, METADATA, MORE, NO_MESSAGE, ONE_WAY, REFUSED, REPLIES, TIMEOUT,
        },
    },
};

/// The longest text of a close packet, in bytes, with the mark that it was cut: a few sentences are
/// enough for a reason.
const MAX_CLOSE_TEXT_BYTES: usize = 1024;

/// The flags of a packet that describe its message bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BodyFlags {
    /// On the first of several chunks: the length of the whole message.
    pub(crate) total: Option<u32>,
    pub(crate) more: bool,
    pub(crate) end: bool,
    pub(crate) continues: bool,
}

impl BodyFlags {
    pub(crate) fn whole(end: bool) -> Self {
        Self {
            end,
            ..Self::default()
        }
    }

    fn wire(self) -> u8 {
        let bit = |set: bool, flag: u8| if set { flag } else { 0 };
        bit(self.end, END) | bit(self.more, MORE) | bit(self.continues, CONTINUES)
    }

    fn total_bytes(self) -> usize {
        self.total.map_or(0, |_| 4)
    }
}

/// The fixed part of a call packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallHeader {
    pub(crate) call: Option<CallId>,
    pub(crate) service: ServiceId,
    pub(crate) method: MethodId,
    pub(crate) timeout_ms: Option<u32>,
    pub(crate) one_way: bool,
}

/// Writes a call packet with the first message, its first chunk, or no message.
pub(crate) fn put_call(
    out: &mut Output,
    header: CallHeader,
    metadata: &Metadata,
    message: Option<(MessageBytes, BodyFlags)>,
) {
    let timeout = header.timeout_ms;
    let mut flags = if header.one_way { ONE_WAY } else { 0 };
    let mut length = 8;
    if timeout.is_some() {
        flags |= TIMEOUT;
        length += 4;
    }
    let put_fields = move |tail: &mut BytesMut| {
        tail.put_u32(header.service.0);
        tail.put_u32(header.method.0);
        if let Some(millis) = timeout {
            tail.put_u32(millis);
        }
    };
    let header = (Kind::Call, flags, header.call);
    put_opening(out, header, (length, put_fields), metadata, message);
}

/// Writes a reply packet with the first message, its first chunk, or no message.
pub(crate) fn put_reply(
    out: &mut Output,
    call: CallId,
    metadata: &Metadata,
    message: Option<(MessageBytes, BodyFlags)>,
) {
    let header = (Kind::Reply, 0, Some(call));
    put_opening(out, header, (0, |_: &mut BytesMut| {}), metadata, message);
}

/// Writes the packet that opens a direction of a call. It begins with fields of this length.
#[inline]
fn put_opening(
    out: &mut Output,
    (kind, flags, call): (Kind, u8, Option<CallId>),
    (length, put_fields): (usize, impl FnOnce(&mut BytesMut)),
    metadata: &Metadata,
    message: Option<(MessageBytes, BodyFlags)>,
) {
    let (of_message, message_bytes) = match &message {
        Some((bytes, body)) => (body.wire(), body.total_bytes() + bytes.len()),
        None => (NO_MESSAGE, 0),
    };
    let (of_metadata, block_bytes) = metadata_part(metadata);
    let (tail, flags) = (out.tail(), flags | of_metadata | of_message);
    let length = length + block_bytes + message_bytes;
    put_header(tail, length, kind, flags, 0, call);
    put_fields(tail);
    put_metadata(tail, metadata);
    if let Some((bytes, body)) = message {
        put_body(out, bytes, body);
    }
}

/// Writes a message or a chunk of one.
pub(crate) fn put_chunk(out: &mut Output, call: CallId, bytes: MessageBytes, body: BodyFlags) {
    let (length, flags) = (body.total_bytes() + bytes.len(), body.wire());
    put_header(out.tail(), length, Kind::Message, flags, 0, Some(call));
    put_body(out, bytes, body);
}

impl Packet {
    /// Appends the bytes of this packet to `out`, for tests and for tools. A connection writes
    /// its packets itself.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut output = Output::default();
        self.put(&mut output);
        while !output.is_empty() {
            let slice = output.first().to_vec();
            out.put_slice(&slice);
            output.advance(slice.len());
        }
    }

    pub(crate) fn put(&self, out: &mut Output) {
        match self {
            Self::Hello(hello) => put_hello(out.tail(), hello),
            Self::Ping(data) => put_number(out.tail(), Kind::Ping, *data),
            Self::Pong(data) => put_number(out.tail(), Kind::Pong, *data),
            Self::Drain { accepted } => put_number(out.tail(), Kind::Drain, *accepted),
            Self::Close { code, text } => {
                let text = marked(text, MAX_CLOSE_TEXT_BYTES);
                let tail = out.tail();
                put_header(tail, text.len(), Kind::Close, 0, code.to_wire(), None);
                tail.put_slice(text.as_bytes());
            }
            Self::Call(call) => {
                let header = CallHeader {
                    call: call.call,
                    service: call.service,
                    method: call.method,
                    timeout_ms: call.timeout_ms,
                    one_way: call.one_way,
                };
                let chunk = call.chunk.as_ref().map(|chunk| body(chunk, false));
                put_call(out, header, &call.metadata, chunk);
            }
            Self::Reply(reply) => {
                let chunk = reply.chunk.as_ref().map(|chunk| body(chunk, false));
                put_reply(out, reply.call, &reply.metadata, chunk);
            }
            Self::Message {
                call,
                chunk,
                continues,
            } => {
                let (bytes, flags) = body(chunk, *continues);
                put_chunk(out, *call, bytes, flags);
            }
            Self::End(end) => put_end(out.tail(), end),
            Self::Cancel(call) => put_header(out.tail(), 0, Kind::Cancel, 0, 0, Some(*call)),
            Self::Credit { of, bytes } => {
                let (call, flags) = match *of {
                    CreditOf::Call(call) => (Some(call), 0),
                    CreditOf::Requests => (None, 0),
                    CreditOf::Replies => (None, REPLIES),
                };
                let tail = out.tail();
                put_header(tail, 4, Kind::Credit, flags, 0, call);
                tail.put_u32(*bytes);
            }
            Self::Move(relocation) => {
                let (tail, address) = (out.tail(), relocation.address());
                let (not_before, not_after) = relocation.wire_times();
                put_header(tail, 8 + address.len(), Kind::Move, 0, 0, None);
                tail.put_u32(not_before);
                tail.put_u32(not_after);
                tail.put_slice(address.as_bytes());
            }
            Self::Unknown(kind) => put_header_of(out.tail(), 0, *kind, 0, 0, None),
        }
    }
}

pub(crate) fn put_header(
    out: &mut BytesMut,
    length: usize,
    kind: Kind,
    flags: u8,
    code: u16,
    call: Option<CallId>,
) {
    put_header_of(out, length, kind as u8, flags, code, call);
}

/// Writes a header with the number of any kind.
#[inline]
fn put_header_of(
    out: &mut BytesMut,
    length: usize,
    kind: u8,
    flags: u8,
    code: u16,
    call: Option<CallId>,
) {
    // The caller has kept the payload below `max_packet_bytes`, which fits into 31 bits.
    debug_assert!(u32::try_from(length).is_ok());
    let [l0, l1, l2, l3] = (length as u32).to_be_bytes();
    let [c0, c1] = code.to_be_bytes();
    let [i0, i1, i2, i3] = call.map_or(0, CallId::to_wire).to_be_bytes();
    out.put_slice(&[l0, l1, l2, l3, kind, flags, c0, c1, i0, i1, i2, i3]);
}

fn put_hello(out: &mut BytesMut, hello: &hello::Hello) {
    let mut payload = BytesMut::new();
    hello.encode(&mut payload);
    put_header(out, payload.len(), Kind::Hello, 0, 0, None);
    out.put_slice(&payload);
}

fn put_number(out: &mut BytesMut, kind: Kind, number: u64) {
    put_header(out, 8, kind, 0, 0, None);
    out.put_u64(number);
}

fn put_end(out: &mut BytesMut, end: &End) {
    let text = cut(&end.text, u16::MAX.into());
    let silent = text.is_empty() && end.details.is_empty();
    let words = match silent {
        true => 0,
        false => 2 + text.len() + end.details.len(),
    };
    let (of_metadata, block_bytes) = metadata_part(&end.metadata);
    let flags = of_metadata | if end.refused { REFUSED } else { 0 };
    let length = block_bytes + words;
    let (code, call) = (end.code.to_wire(), Some(end.call));
    put_header(out, length, Kind::End, flags, code, call);
    put_metadata(out, &end.metadata);
    if !silent {
        out.put_u16(text.len() as u16);
        out.put_slice(text.as_bytes());
        out.put_slice(&end.details);
    }
}

/// The flag of a packet with this metadata, and the bytes of its block.
fn metadata_part(metadata: &Metadata) -> (u8, usize) {
    match metadata.is_empty() {
        true => (0, 0),
        false => (METADATA, metadata.encoded_len()),
    }
}

fn put_metadata(out: &mut BytesMut, metadata: &Metadata) {
    if metadata.is_empty() {
        return;
    }
    // `Metadata::insert` and the limits of the receiver bound all three lengths.
    out.put_u16(metadata.len() as u16);
    for (key, value) in metadata.iter() {
        out.put_u8(key.len() as u8);
        out.put_slice(key.as_bytes());
        out.put_u16(value.len() as u16);
        out.put_slice(value);
    }
}

fn put_body(out: &mut Output, bytes: MessageBytes, body: BodyFlags) {
    if let Some(total) = body.total {
        out.tail().put_u32(total);
    }
    out.put_message(bytes);
}

fn body(chunk: &super::Chunk, continues: bool) -> (MessageBytes, BodyFlags) {
    let flags = BodyFlags {
        total: chunk.total,
        more: chunk.more,
        end: chunk.end,
        continues,
    };
    (chunk.bytes.clone().into(), flags)
}
