//! Decodes bytes to packets.

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    code::{CloseCode, Code},
    error::PeerMisbehaved,
    hello::Hello,
    id::{CallId, MethodId, ServiceId},
    limits::{Limits, MIN_PACKET_BYTES},
    metadata::Metadata,
    packet::{
        Call, Chunk, CreditOf, End, Packet, Reply,
        header::{
            CONTINUES, END, HEADER_BYTES, Header, Kind, METADATA, MORE, NO_MESSAGE, ONE_WAY,
            PayloadReader, REFUSED, REPLIES, RawHeader, TIMEOUT,
        },
    },
};

/// The first bytes of each side: magic and version (docs/protocol.md, "Preface").
pub const PREFACE: [u8; 8] = *b"WAWO/1\r\n";

/// Takes the preface off `input`; `false` if it has not all come yet.
///
/// # Errors
///
/// As soon as a byte differs, so that another protocol is recognised by its first bytes.
pub fn decode_preface(input: &mut BytesMut) -> Result<bool, PeerMisbehaved> {
    let length = input.len().min(PREFACE.len());
    let start = &input[..length];
    if start != &PREFACE[..length] {
        let text = start.escape_ascii().to_string();
        let wawo = start.starts_with(b"WAWO/");
        return Err(match wawo {
            true => PeerMisbehaved::Version(text),
            false => PeerMisbehaved::NotWawo(text),
        });
    }
    if length < PREFACE.len() {
        return Ok(false);
    }
    input.advance(PREFACE.len());
    Ok(true)
}

/// Takes the next packet off `input`; `None` if it has not all come yet.
///
/// The bytes of messages share the buffer of `input`. The caller may reserve room for what is
/// missing; a header alone never makes this function allocate.
///
/// # Errors
///
/// If the packet breaks a rule that holds whatever the state of the connection, or a length in
/// `limits`. A length over the limit is refused from the header, before its payload comes.
pub fn decode(input: &mut BytesMut, limits: &Limits) -> Result<Option<Packet>, PeerMisbehaved> {
    let Some(raw) = RawHeader::read(input) else {
        return Ok(None);
    };
    let (length, header) = (raw.length, Header::check(raw)?);
    let max = match header.kind {
        Kind::Hello => limits.max_packet_bytes.min(MIN_PACKET_BYTES),
        _ => limits.max_packet_bytes,
    };
    if length > max {
        return Err(PeerMisbehaved::PacketTooLarge { length, max });
    }
    if input.len() < raw.packet_len() {
        return Ok(None);
    }
    let mut packet = input.split_to(raw.packet_len()).freeze();
    packet.advance(HEADER_BYTES);
    decode_payload(header, PayloadReader::new(header.kind, packet), limits).map(Some)
}

/// The length of the message in the first packet of `input`, if the packet is whole, belongs to
/// this call, and has a whole message that is not the last.
#[inline]
pub(crate) fn fast_message(input: &[u8], call: CallId, limits: &Limits) -> Option<usize> {
    let header = RawHeader::read(input)?;
    let is_plain = header.kind == Kind::Message as u8 && header.flags == 0 && header.code == 0;
    let is_whole = header.length <= limits.max_packet_bytes && input.len() >= header.packet_len();
    (is_plain && header.call == call.to_wire() && is_whole).then_some(header.length as usize)
}

/// A call that is whole in one packet, with one message and no metadata.
#[derive(Debug)]
pub(crate) struct FastCall {
    /// `None` if it is one-way.
    pub(crate) call: Option<CallId>,
    pub(crate) service: ServiceId,
    pub(crate) method: MethodId,
    pub(crate) timeout_ms: Option<u32>,
    /// Where its message begins, counted from the start of the packet.
    pub(crate) message_at: usize,
    /// The length of the packet.
    pub(crate) end: usize,
}

impl FastCall {
    pub(crate) fn message_len(&self) -> usize {
        self.end - self.message_at
    }
}

/// The call in the first packet of `input`, if the packet is whole and has such a call.
pub(crate) fn fast_call(input: &[u8], limits: &Limits) -> Option<FastCall> {
    let header = RawHeader::read(input)?;
    let (flags, call) = (header.flags, CallId::from_wire(header.call));
    let is_plain = header.kind == Kind::Call as u8
        && flags & !(ONE_WAY | TIMEOUT) == END
        && header.code == 0
        && call.is_none() == (flags & ONE_WAY != 0);
    if !is_plain || header.length > limits.max_packet_bytes {
        return None;
    }
    let end = header.packet_len();
    let payload = input.get(HEADER_BYTES..end)?;
    let (service, payload) = payload.split_first_chunk()?;
    let (method, payload) = payload.split_first_chunk()?;
    let (timeout_ms, message) = match flags & TIMEOUT {
        0 => (None, payload),
        _ => {
            let (timeout, message) = payload.split_first_chunk()?;
            (Some(u32::from_be_bytes(*timeout)), message)
        }
    };
    Some(FastCall {
        call,
        service: ServiceId(u32::from_be_bytes(*service)),
        method: MethodId(u32::from_be_bytes(*method)),
        timeout_ms,
        message_at: end - message.len(),
        end,
    })
}

/// The call of the first packet of `input`, and the end of the packet, if it is a whole reply
/// packet with one message, no further ones, and no metadata. The message is all that follows the
/// header.
pub(crate) fn fast_reply(input: &[u8], limits: &Limits) -> Option<(CallId, usize)> {
    let header = RawHeader::read(input)?;
    let is_plain = header.kind == Kind::Reply as u8 && header.flags == END && header.code == 0;
    if !is_plain || header.length > limits.max_packet_bytes {
        return None;
    }
    let (call, end) = (CallId::from_wire(header.call)?, header.packet_len());
    (input.len() >= end).then_some((call, end))
}

/// The number of bytes of the first packet of `input` that are still to come; 0 if it is whole,
/// `None` if its header is not.
pub fn missing(input: &[u8]) -> Option<usize> {
    let header = RawHeader::read(input)?;
    Some(header.packet_len().saturating_sub(input.len()))
}

/// The header of a chunk that continues a message.
#[derive(Debug)]
pub(crate) struct ChunkHeader {
    pub(crate) call: CallId,
    pub(crate) length: usize,
    pub(crate) more: bool,
    pub(crate) end: bool,
}

/// The header of the first packet of `input`, if that packet is such a chunk, is not whole, and has
/// a header that breaks no rule.
pub(crate) fn partial_chunk(input: &[u8], limits: &Limits) -> Option<ChunkHeader> {
    let raw = RawHeader::read(input)?;
    let is_partial = raw.length <= limits.max_packet_bytes && input.len() < raw.packet_len();
    let header = Header::check(raw).ok().filter(|_| is_partial)?;
    let continues = header.kind == Kind::Message && header.has(CONTINUES);
    Some(ChunkHeader {
        call: header.call.filter(|_| continues)?,
        length: raw.length as usize,
        more: header.has(MORE),
        end: header.has(END),
    })
}

fn decode_payload(
    header: Header,
    mut payload: PayloadReader,
    limits: &Limits,
) -> Result<Packet, PeerMisbehaved> {
    let packet = match header.kind {
        Kind::Hello => {
            return Hello::decode(payload.rest).map(|hello| Packet::Hello(Box::new(hello)));
        }
        Kind::Close => return close(&header, payload),
        Kind::Call => return call(&header, payload, limits).map(Packet::Call),
        Kind::Reply => return reply(&header, payload, limits).map(Packet::Reply),
        Kind::Message => return message(&header, payload),
        Kind::End => return end(&header, payload, limits),
        Kind::Ping => Packet::Ping(payload.take_u64()?),
        Kind::Pong => Packet::Pong(payload.take_u64()?),
        Kind::Drain => Packet::Drain {
            accepted: payload.take_u64()?,
        },
        Kind::Cancel => Packet::Cancel(call_id(&header)?),
        Kind::Credit => credit(&header, &mut payload)?,
    };
    payload.finish()?;
    Ok(packet)
}

fn call(
    header: &Header,
    mut payload: PayloadReader,
    limits: &Limits,
) -> Result<Call, PeerMisbehaved> {
    Ok(Call {
        call: header.call,
        service: ServiceId(payload.take_u32()?),
        method: MethodId(payload.take_u32()?),
        timeout_ms: match header.has(TIMEOUT) {
            true => Some(payload.take_u32()?),
            false => None,
        },
        one_way: header.has(ONE_WAY),
        metadata: metadata(header, &mut payload, limits)?,
        chunk: first_chunk(header, payload)?,
    })
}

fn reply(
    header: &Header,
    mut payload: PayloadReader,
    limits: &Limits,
) -> Result<Reply, PeerMisbehaved> {
    Ok(Reply {
        call: call_id(header)?,
        metadata: metadata(header, &mut payload, limits)?,
        chunk: first_chunk(header, payload)?,
    })
}

fn message(header: &Header, payload: PayloadReader) -> Result<Packet, PeerMisbehaved> {
    let continues = header.has(CONTINUES);
    let call = call_id(header)?;
    let chunk = match continues {
        true => rest_chunk(header, None, payload)?,
        false => starting_chunk(header, payload)?,
    };
    Ok(Packet::Message {
        call,
        chunk,
        continues,
    })
}

fn end(
    header: &Header,
    mut payload: PayloadReader,
    limits: &Limits,
) -> Result<Packet, PeerMisbehaved> {
    let metadata = metadata(header, &mut payload, limits)?;
    let (mut text, mut details) = (String::new(), Bytes::new());
    if !payload.rest.is_empty() {
        let length = payload.take_u16()?;
        text = utf8(Kind::End, &payload.take(length.into())?)?;
        details = payload.rest;
    }
    Ok(Packet::End(End {
        call: call_id(header)?,
        code: Code::from_wire(header.code),
        refused: header.has(REFUSED),
        metadata,
        text,
        details,
    }))
}

fn close(header: &Header, payload: PayloadReader) -> Result<Packet, PeerMisbehaved> {
    Ok(Packet::Close {
        code: CloseCode::from_wire(header.code),
        text: utf8(Kind::Close, &payload.rest)?,
    })
}

fn credit(header: &Header, payload: &mut PayloadReader) -> Result<Packet, PeerMisbehaved> {
    let bytes = payload.take_u32()?;
    if bytes == 0 {
        return Err(PeerMisbehaved::Header {
            kind: Kind::Credit.name(),
            field: "bytes",
            value: 0,
        });
    }
    let of = match header.call {
        Some(call) => CreditOf::Call(call),
        None if header.has(REPLIES) => CreditOf::Replies,
        None => CreditOf::Requests,
    };
    Ok(Packet::Credit { of, bytes })
}

/// The chunk that comes with a call or reply, if one does.
fn first_chunk(header: &Header, payload: PayloadReader) -> Result<Option<Chunk>, PeerMisbehaved> {
    if header.has(NO_MESSAGE) {
        payload.finish()?;
        return Ok(None);
    }
    starting_chunk(header, payload).map(Some)
}

fn starting_chunk(header: &Header, mut payload: PayloadReader) -> Result<Chunk, PeerMisbehaved> {
    let total = match header.has(MORE) {
        true => Some(payload.take_u32()?),
        false => None,
    };
    rest_chunk(header, total, payload)
}

fn rest_chunk(
    header: &Header,
    total: Option<u32>,
    payload: PayloadReader,
) -> Result<Chunk, PeerMisbehaved> {
    // An empty chunk would cost this side work and bring nothing, so it is refused.
    if payload.rest.is_empty() && (header.has(MORE) || header.has(CONTINUES)) {
        return Err(payload.wrong_length());
    }
    Ok(Chunk {
        bytes: payload.rest,
        total,
        more: header.has(MORE),
        end: header.has(END),
    })
}

fn metadata(
    header: &Header,
    payload: &mut PayloadReader,
    limits: &Limits,
) -> Result<Metadata, PeerMisbehaved> {
    let mut metadata = Metadata::new();
    if !header.has(METADATA) {
        return Ok(metadata);
    }
    let too_large = |size, unit, max, setting| PeerMisbehaved::MetadataTooLarge {
        size,
        unit,
        max,
        setting,
    };
    let before = payload.rest.len();
    let entries = payload.take_u16()?;
    if u32::from(entries) > limits.max_metadata_entries {
        let max = limits.max_metadata_entries;
        return Err(too_large(
            entries.into(),
            "entries",
            max,
            "max_metadata_entries",
        ));
    }
    for _ in 0..entries {
        let [length] = payload.take_array()?;
        let key = utf8(header.kind, &payload.take(length.into())?)?;
        let length = payload.take_u16()?;
        let value = payload.take(length.into())?;
        let size = before - payload.rest.len();
        if size > limits.max_metadata_bytes as usize {
            let max = limits.max_metadata_bytes;
            return Err(too_large(size, "bytes or more", max, "max_metadata_bytes"));
        }
        // The value is copied: metadata may be kept as long as its call, and must not keep the
        // input buffer alive.
        metadata.insert(key, Bytes::copy_from_slice(&value))?;
    }
    Ok(metadata)
}

fn utf8(kind: Kind, bytes: &[u8]) -> Result<String, PeerMisbehaved> {
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned)
        .map_err(|_| PeerMisbehaved::Text(kind.name()))
}

fn call_id(header: &Header) -> Result<CallId, PeerMisbehaved> {
    header.call.ok_or_else(|| PeerMisbehaved::Header {
        kind: header.kind.name(),
        field: "call id",
        value: 0,
    })
}
