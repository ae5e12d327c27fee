//! Bytes to packets.

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    code::{CloseCode, Code},
    config::{Limits, MIN_PACKET_BYTES},
    error::PeerMisbehaved,
    hello::Hello,
    id::{CallId, MethodId, ServiceId},
    metadata::Metadata,
    packet::{
        Call, Chunk, CreditOf, End, Packet, Reply,
        head::{
            CONTINUES, END, HEAD_BYTES, Head, Kind, METADATA, MORE, NO_MESSAGE, ONE_WAY, Payload,
            REFUSED, REPLIES, TIMEOUT,
        },
    },
};

/// The first bytes of each side: magic and version (docs/protocol.md, "Preface").
pub const PREFACE: [u8; 8] = *b"WAWO/1\r\n";

/// Takes the preface off `input`; `false` if it has not all come yet.
///
/// # Errors
///
/// As soon as a byte differs, so that another protocol is told apart by its first bytes.
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
/// missing; a head alone never makes this function allocate.
///
/// # Errors
///
/// If the packet breaks a rule that holds whatever the state of the connection, or a length in
/// `limits`. A length over the limit is refused from the head, before its payload comes.
pub fn decode(input: &mut BytesMut, limits: &Limits) -> Result<Option<Packet>, PeerMisbehaved> {
    let Some(bytes) = input.first_chunk::<HEAD_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let head = Head::parse(bytes)?;
    let max = match head.kind {
        Kind::Hello => limits.max_packet_bytes.min(MIN_PACKET_BYTES),
        _ => limits.max_packet_bytes,
    };
    if length > max {
        return Err(PeerMisbehaved::PacketTooLarge { length, max });
    }
    let whole = HEAD_BYTES + length as usize;
    if input.len() < whole {
        return Ok(None);
    }
    let mut packet = input.split_to(whole).freeze();
    packet.advance(HEAD_BYTES);
    decode_payload(head, Payload::new(head.kind, packet), limits).map(Some)
}

/// The length of the message in the first packet of `input`, if it is whole, of this call, and
/// nothing but a message: no chunk, and not the last.
pub(crate) fn plain_message(input: &[u8], call: CallId, limits: &Limits) -> Option<usize> {
    let head = input.first_chunk::<HEAD_BYTES>()?;
    let [l0, l1, l2, l3, kind, flags, c0, c1, i0, i1, i2, i3] = *head;
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    let is_plain = kind == Kind::Message as u8 && [flags, c0, c1] == [0; 3];
    let is_of_call = u32::from_be_bytes([i0, i1, i2, i3]) == call.to_wire();
    let is_whole = length <= limits.max_packet_bytes && input.len() >= HEAD_BYTES + length as usize;
    (is_plain && is_of_call && is_whole).then_some(length as usize)
}

/// A call in a whole packet: one message, and no metadata.
#[derive(Debug)]
pub(crate) struct PlainCall {
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

impl PlainCall {
    pub(crate) fn message_len(&self) -> usize {
        self.end - self.message_at
    }
}

/// The call in the first packet of `input`, if it is a plain one.
pub(crate) fn plain_call(input: &[u8], limits: &Limits) -> Option<PlainCall> {
    const FIXED_BYTES: usize = HEAD_BYTES + 8;
    let head = input.first_chunk::<FIXED_BYTES>()?;
    let number =
        |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (length, flags, call) = (number(0), head[5], CallId::from_wire(number(8)));
    let is_plain = head[4] == Kind::Call as u8
        && flags & !(ONE_WAY | TIMEOUT) == END
        && [head[6], head[7]] == [0; 2]
        && call.is_none() == (flags & ONE_WAY != 0);
    if !is_plain || length > limits.max_packet_bytes {
        return None;
    }
    let end = HEAD_BYTES + length as usize;
    if input.len() < end {
        return None;
    }
    let (timeout_ms, message_at) = match flags & TIMEOUT {
        0 => (None, FIXED_BYTES),
        _ => {
            let timeout = input[FIXED_BYTES..].first_chunk()?;
            (Some(u32::from_be_bytes(*timeout)), FIXED_BYTES + 4)
        }
    };
    (message_at <= end).then_some(PlainCall {
        call,
        service: ServiceId(number(HEAD_BYTES)),
        method: MethodId(number(HEAD_BYTES + 4)),
        timeout_ms,
        message_at,
        end,
    })
}

/// The call and the end of the first packet of `input`, if it is a reply as most are: whole, the
/// only one, and without metadata. Its message is all that follows the head.
pub(crate) fn plain_reply(input: &[u8], limits: &Limits) -> Option<(CallId, usize)> {
    let head = input.first_chunk::<HEAD_BYTES>()?;
    let [l0, l1, l2, l3, kind, flags, c0, c1, i0, i1, i2, i3] = *head;
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    let is_plain = kind == Kind::Reply as u8 && flags == END && [c0, c1] == [0; 2];
    if !is_plain || length > limits.max_packet_bytes {
        return None;
    }
    let end = HEAD_BYTES + length as usize;
    let call = CallId::from_wire(u32::from_be_bytes([i0, i1, i2, i3]))?;
    (input.len() >= end).then_some((call, end))
}

/// How many bytes of the first packet of `input` are still to come, if its head is here; none if
/// it is whole.
pub fn missing(input: &[u8]) -> Option<usize> {
    let (length, _) = input.split_first_chunk()?;
    let whole = HEAD_BYTES.checked_add(u32::from_be_bytes(*length) as usize)?;
    (input.len() >= HEAD_BYTES).then(|| whole.saturating_sub(input.len()))
}

/// The head of a chunk that continues a message.
#[derive(Debug)]
pub(crate) struct ChunkHead {
    pub(crate) call: CallId,
    pub(crate) length: usize,
    pub(crate) more: bool,
    pub(crate) end: bool,
}

/// The head of the first packet of `input`, if that is such a chunk, is not whole, and breaks no
/// rule by its head.
pub(crate) fn partial_chunk(input: &[u8], limits: &Limits) -> Option<ChunkHead> {
    let bytes = input.first_chunk::<HEAD_BYTES>()?;
    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let is_partial = length <= limits.max_packet_bytes && missing(input) > Some(0);
    let head = Head::parse(bytes).ok().filter(|_| is_partial)?;
    let continues = head.kind == Kind::Message && head.has(CONTINUES);
    Some(ChunkHead {
        call: head.call.filter(|_| continues)?,
        length: length as usize,
        more: head.has(MORE),
        end: head.has(END),
    })
}

fn decode_payload(
    head: Head,
    mut payload: Payload,
    limits: &Limits,
) -> Result<Packet, PeerMisbehaved> {
    let packet = match head.kind {
        Kind::Hello => {
            return Hello::decode(payload.rest).map(|hello| Packet::Hello(Box::new(hello)));
        }
        Kind::Close => return close(&head, payload),
        Kind::Call => return call(&head, payload, limits).map(Packet::Call),
        Kind::Reply => return reply(&head, payload, limits).map(Packet::Reply),
        Kind::Message => return message(&head, payload),
        Kind::End => return end(&head, payload, limits),
        Kind::Ping => Packet::Ping(payload.take_u64()?),
        Kind::Pong => Packet::Pong(payload.take_u64()?),
        Kind::Drain => Packet::Drain {
            accepted: payload.take_u64()?,
        },
        Kind::Cancel => Packet::Cancel(call_id(&head)?),
        Kind::Credit => credit(&head, &mut payload)?,
    };
    payload.finish()?;
    Ok(packet)
}

fn call(head: &Head, mut payload: Payload, limits: &Limits) -> Result<Call, PeerMisbehaved> {
    Ok(Call {
        call: head.call,
        service: ServiceId(payload.take_u32()?),
        method: MethodId(payload.take_u32()?),
        timeout_ms: match head.has(TIMEOUT) {
            true => Some(payload.take_u32()?),
            false => None,
        },
        one_way: head.has(ONE_WAY),
        metadata: metadata(head, &mut payload, limits)?,
        chunk: first_chunk(head, payload)?,
    })
}

fn reply(head: &Head, mut payload: Payload, limits: &Limits) -> Result<Reply, PeerMisbehaved> {
    Ok(Reply {
        call: call_id(head)?,
        metadata: metadata(head, &mut payload, limits)?,
        chunk: first_chunk(head, payload)?,
    })
}

fn message(head: &Head, payload: Payload) -> Result<Packet, PeerMisbehaved> {
    let continues = head.has(CONTINUES);
    let call = call_id(head)?;
    let chunk = match continues {
        true => rest_chunk(head, None, payload)?,
        false => starting_chunk(head, payload)?,
    };
    Ok(Packet::Message {
        call,
        chunk,
        continues,
    })
}

fn end(head: &Head, mut payload: Payload, limits: &Limits) -> Result<Packet, PeerMisbehaved> {
    let metadata = metadata(head, &mut payload, limits)?;
    let (mut text, mut details) = (String::new(), Bytes::new());
    if !payload.rest.is_empty() {
        let length = payload.take_u16()?;
        text = utf8(Kind::End, &payload.take(length.into())?)?;
        details = payload.rest;
    }
    Ok(Packet::End(End {
        call: call_id(head)?,
        code: Code::from_wire(head.code),
        refused: head.has(REFUSED),
        metadata,
        text,
        details,
    }))
}

fn close(head: &Head, payload: Payload) -> Result<Packet, PeerMisbehaved> {
    Ok(Packet::Close {
        code: CloseCode::from_wire(head.code),
        text: utf8(Kind::Close, &payload.rest)?,
    })
}

fn credit(head: &Head, payload: &mut Payload) -> Result<Packet, PeerMisbehaved> {
    let bytes = payload.take_u32()?;
    if bytes == 0 {
        return Err(PeerMisbehaved::Head {
            kind: Kind::Credit.name(),
            field: "bytes",
            value: 0,
        });
    }
    let of = match head.call {
        Some(call) => CreditOf::Call(call),
        None if head.has(REPLIES) => CreditOf::Replies,
        None => CreditOf::Requests,
    };
    Ok(Packet::Credit { of, bytes })
}

/// The chunk that comes with a call or reply, if one does.
fn first_chunk(head: &Head, payload: Payload) -> Result<Option<Chunk>, PeerMisbehaved> {
    if head.has(NO_MESSAGE) {
        payload.finish()?;
        return Ok(None);
    }
    starting_chunk(head, payload).map(Some)
}

fn starting_chunk(head: &Head, mut payload: Payload) -> Result<Chunk, PeerMisbehaved> {
    let total = match head.has(MORE) {
        true => Some(payload.take_u32()?),
        false => None,
    };
    rest_chunk(head, total, payload)
}

fn rest_chunk(head: &Head, total: Option<u32>, payload: Payload) -> Result<Chunk, PeerMisbehaved> {
    // A chunk with nothing in it would cost us work for nothing.
    if payload.rest.is_empty() && (head.has(MORE) || head.has(CONTINUES)) {
        return Err(payload.wrong_length());
    }
    Ok(Chunk {
        bytes: payload.rest,
        total,
        more: head.has(MORE),
        end: head.has(END),
    })
}

fn metadata(
    head: &Head,
    payload: &mut Payload,
    limits: &Limits,
) -> Result<Metadata, PeerMisbehaved> {
    let mut metadata = Metadata::new();
    if !head.has(METADATA) {
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
        let key = utf8(head.kind, &payload.take(length.into())?)?;
        let length = payload.take_u16()?;
        let value = payload.take(length.into())?;
        let size = before - payload.rest.len();
        if size > limits.max_metadata_bytes as usize {
            let max = limits.max_metadata_bytes;
            return Err(too_large(size, "bytes or more", max, "max_metadata_bytes"));
        }
        // Metadata may be kept for as long as its call, and must not keep the buffer as well.
        metadata.insert(key, Bytes::copy_from_slice(&value))?;
    }
    Ok(metadata)
}

fn utf8(kind: Kind, bytes: &[u8]) -> Result<String, PeerMisbehaved> {
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned)
        .map_err(|_| PeerMisbehaved::Text(kind.name()))
}

fn call_id(head: &Head) -> Result<CallId, PeerMisbehaved> {
    head.call.ok_or_else(|| PeerMisbehaved::Head {
        kind: head.kind.name(),
        field: "call id",
        value: 0,
    })
}
