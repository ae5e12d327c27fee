//! Recognises the packets that come most, without decoding them: those that are whole, or chunks of long
//! messages, and have nothing that is rare. All others are left to [`decode`](crate::packet::decode).

use crate::{
    id::{CallId, MethodId, ServiceId},
    limits::Limits,
    packet::header::{
        CONTINUES, END, HEADER_BYTES, Header, Kind, MORE, ONE_WAY, RawHeader, TIMEOUT,
    },
};

/// The header of the first packet of `input`, if the packet is whole and of this kind, and has all of
/// `flags` and no others but some of `optional`.
#[inline]
fn fast_packet(
    input: &[u8],
    (kind, flags, optional): (Kind, u8, u8),
    limits: &Limits,
) -> Option<RawHeader> {
    let header = RawHeader::read(input)?;
    let is_it = header.kind == kind as u8 && header.flags & !optional == flags && header.code == 0;
    let is_whole = header.length <= limits.max_packet_bytes && input.len() >= header.packet_len();
    (is_it && is_whole).then_some(header)
}

/// The length of the message in the first packet of `input`, if the packet is whole, belongs to
/// this call, and has a whole message that is not the last.
#[inline]
pub(crate) fn fast_message(input: &[u8], call: CallId, limits: &Limits) -> Option<usize> {
    let header = fast_packet(input, (Kind::Message, 0, 0), limits)?;
    (header.call == call.to_wire()).then_some(header.length as usize)
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
    let header = fast_packet(input, (Kind::Call, END, ONE_WAY | TIMEOUT), limits)?;
    let (call, end) = (CallId::from_wire(header.call), header.packet_len());
    if call.is_none() != (header.flags & ONE_WAY != 0) {
        return None;
    }
    let payload = &input[HEADER_BYTES..end];
    let (service, payload) = payload.split_first_chunk()?;
    let (method, payload) = payload.split_first_chunk()?;
    let (timeout_ms, message) = match header.flags & TIMEOUT {
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
    let header = fast_packet(input, (Kind::Reply, END, 0), limits)?;
    Some((CallId::from_wire(header.call)?, header.packet_len()))
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
