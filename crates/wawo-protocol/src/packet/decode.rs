//! Decodes bytes to packets.

use bytes::{Buf, Bytes, BytesMut, TryGetError};

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
            REFUSED, REPLIES, RawHeader, TIMEOUT,
        },
    },
    relocation::Relocation,
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
    if raw.is_skipped() {
        let skipped = take_packet(input, raw, limits.max_packet_bytes)?;
        return Ok(skipped.map(|_| Packet::Unknown(raw.kind)));
    }
    let header = Header::check(raw)?;
    let max = match header.kind {
        Kind::Hello => limits.max_packet_bytes.min(MIN_PACKET_BYTES),
        _ => limits.max_packet_bytes,
    };
    let Some(rest) = take_packet(input, raw, max)? else {
        return Ok(None);
    };
    let payload = PayloadReader {
        header,
        limits,
        length: rest.len(),
        rest,
    };
    payload.decode().map(Some)
}

/// Takes the first packet off `input`, and returns its payload; `None` if it has not all come.
#[inline]
fn take_packet(
    input: &mut BytesMut,
    header: RawHeader,
    max: u32,
) -> Result<Option<Bytes>, PeerMisbehaved> {
    let length = header.length;
    if length > max {
        return Err(PeerMisbehaved::PacketTooLarge { length, max });
    }
    if input.len() < header.packet_len() {
        return Ok(None);
    }
    let mut payload = input.split_to(header.packet_len()).freeze();
    payload.advance(HEADER_BYTES);
    Ok(Some(payload))
}

/// The number of bytes of the first packet of `input` that are still to come; 0 if it is whole,
/// `None` if its header is not.
pub fn missing(input: &[u8]) -> Option<usize> {
    let header = RawHeader::read(input)?;
    Some(header.packet_len().saturating_sub(input.len()))
}

/// The payload of a packet while it is decoded.
#[derive(Debug)]
struct PayloadReader<'a> {
    header: Header,
    limits: &'a Limits,
    /// The length of the whole payload.
    length: usize,
    /// The part that was not read.
    rest: Bytes,
}

impl PayloadReader<'_> {
    fn decode(mut self) -> Result<Packet, PeerMisbehaved> {
        let packet = match self.header.kind {
            Kind::Hello => Packet::Hello(Box::new(Hello::decode(self.take_rest())?)),
            Kind::Ping => Packet::Ping(self.number(Buf::try_get_u64)?),
            Kind::Pong => Packet::Pong(self.number(Buf::try_get_u64)?),
            Kind::Drain => Packet::Drain {
                accepted: self.number(Buf::try_get_u64)?,
            },
            Kind::Close => Packet::Close {
                code: CloseCode::from_wire(self.header.code),
                text: self.text(self.rest.len())?,
            },
            Kind::Call => Packet::Call(self.call()?),
            Kind::Reply => Packet::Reply(Reply {
                call: self.call_id()?,
                metadata: self.metadata()?,
                chunk: self.first_chunk()?,
            }),
            Kind::Message => Packet::Message {
                call: self.call_id()?,
                chunk: self.chunk()?,
                continues: self.header.has(CONTINUES),
            },
            Kind::End => Packet::End(self.end()?),
            Kind::Cancel => Packet::Cancel(self.call_id()?),
            Kind::Credit => self.credit()?,
            Kind::Move => Packet::Move(self.relocation()?),
        };
        match self.rest.is_empty() {
            true => Ok(packet),
            false => Err(self.wrong_length()),
        }
    }

    fn call(&mut self) -> Result<Call, PeerMisbehaved> {
        Ok(Call {
            call: self.header.call,
            service: ServiceId(self.number(Buf::try_get_u32)?),
            method: MethodId(self.number(Buf::try_get_u32)?),
            timeout_ms: match self.header.has(TIMEOUT) {
                true => Some(self.number(Buf::try_get_u32)?),
                false => None,
            },
            one_way: self.header.has(ONE_WAY),
            metadata: self.metadata()?,
            chunk: self.first_chunk()?,
        })
    }

    fn relocation(&mut self) -> Result<Relocation, PeerMisbehaved> {
        let not_before = self.number(Buf::try_get_u32)?;
        let not_after = self.number(Buf::try_get_u32)?;
        let address = self.text(self.rest.len())?;
        let relocation = Relocation::of_wire(not_before, not_after, address);
        relocation.map_err(PeerMisbehaved::Move)
    }

    /// The chunk that comes with a call or reply, if one does.
    fn first_chunk(&mut self) -> Result<Option<Chunk>, PeerMisbehaved> {
        match self.header.has(NO_MESSAGE) {
            true => Ok(None),
            false => self.chunk().map(Some),
        }
    }

    fn chunk(&mut self) -> Result<Chunk, PeerMisbehaved> {
        let (more, continues) = (self.header.has(MORE), self.header.has(CONTINUES));
        let total = match more && !continues {
            true => Some(self.number(Buf::try_get_u32)?),
            false => None,
        };
        // An empty chunk would cost this side work and bring nothing, so it is refused.
        if self.rest.is_empty() && (more || continues) {
            return Err(self.wrong_length());
        }
        Ok(Chunk {
            bytes: self.take_rest(),
            total,
            more,
            end: self.header.has(END),
        })
    }

    fn end(&mut self) -> Result<End, PeerMisbehaved> {
        let metadata = self.metadata()?;
        let text = match self.rest.is_empty() {
            true => String::new(),
            false => {
                let length = self.number(Buf::try_get_u16)?;
                self.text(length.into())?
            }
        };
        Ok(End {
            call: self.call_id()?,
            code: Code::from_wire(self.header.code),
            refused: self.header.has(REFUSED),
            metadata,
            text,
            details: self.take_rest(),
        })
    }

    fn credit(&mut self) -> Result<Packet, PeerMisbehaved> {
        let bytes = self.number(Buf::try_get_u32)?;
        if bytes == 0 {
            return Err(self.zero("bytes"));
        }
        let of = match self.header.call {
            Some(call) => CreditOf::Call(call),
            None if self.header.has(REPLIES) => CreditOf::Replies,
            None => CreditOf::Requests,
        };
        Ok(Packet::Credit { of, bytes })
    }

    fn metadata(&mut self) -> Result<Metadata, PeerMisbehaved> {
        let (mut metadata, limits) = (Metadata::new(), self.limits);
        if !self.header.has(METADATA) {
            return Ok(metadata);
        }
        let too_large = |size, unit, max, setting| PeerMisbehaved::MetadataTooLarge {
            size,
            unit,
            max,
            setting,
        };
        let before = self.rest.len();
        let (entries, max) = (self.number(Buf::try_get_u16)?, limits.max_metadata_entries);
        if u32::from(entries) > max {
            let (size, setting) = (entries.into(), "max_metadata_entries");
            return Err(too_large(size, "entries", max, setting));
        }
        for _ in 0..entries {
            let length = self.number(Buf::try_get_u8)?;
            let key = self.text(length.into())?;
            let length = self.number(Buf::try_get_u16)?;
            // The value is copied: metadata may be kept as long as its call, and must not keep the
            // input buffer alive.
            let value = Bytes::copy_from_slice(self.peek(length.into())?);
            self.rest.advance(value.len());
            let (size, max) = (before - self.rest.len(), limits.max_metadata_bytes);
            if size > max as usize {
                return Err(too_large(size, "bytes or more", max, "max_metadata_bytes"));
            }
            metadata.append(key, value)?;
        }
        Ok(metadata)
    }

    fn call_id(&self) -> Result<CallId, PeerMisbehaved> {
        self.header.call.ok_or_else(|| self.zero("call id"))
    }

    fn text(&mut self, length: usize) -> Result<String, PeerMisbehaved> {
        let text = std::str::from_utf8(self.peek(length)?).map(str::to_owned);
        self.rest.advance(length);
        text.map_err(|_| PeerMisbehaved::Text(self.header.kind.name()))
    }

    fn number<N>(
        &mut self,
        get: impl FnOnce(&mut Bytes) -> Result<N, TryGetError>,
    ) -> Result<N, PeerMisbehaved> {
        get(&mut self.rest).map_err(|_| self.wrong_length())
    }

    fn peek(&self, count: usize) -> Result<&[u8], PeerMisbehaved> {
        let bytes = self.rest.get(..count);
        bytes.ok_or_else(|| self.wrong_length())
    }

    fn take_rest(&mut self) -> Bytes {
        std::mem::take(&mut self.rest)
    }

    fn wrong_length(&self) -> PeerMisbehaved {
        PeerMisbehaved::PayloadLength {
            kind: self.header.kind.name(),
            length: self.length,
        }
    }

    /// The error of a field that must not be zero.
    fn zero(&self, field: &'static str) -> PeerMisbehaved {
        PeerMisbehaved::Header {
            kind: self.header.kind.name(),
            field,
            value: 0,
        }
    }
}
