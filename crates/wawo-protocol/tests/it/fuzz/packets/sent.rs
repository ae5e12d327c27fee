//! The packets of a peer, drawn from bytes. Most of them fit the existing calls.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::BytesMut;
use wawo_protocol::{
    CallId, CloseCode, Limits, MIN_CREDIT_BYTES, Metadata, MethodId, Relocation, ServiceId, Side,
    packet::{Call, Chunk, CreditOf, End, Packet, Reply, decode},
};

use crate::{
    fuzz::packets::{
        ANY,
        act::{Length, end},
    },
    model::Rules,
};

/// A packet of the peer.
#[derive(Debug)]
pub(crate) enum Sent {
    Hello(Announcement),
    Ping(u8),
    Pong(u8),
    Drain(u8),
    Close,
    Call {
        slot: Slot,
        one_way: bool,
        timeout_ms: Option<u8>,
        metadata: bool,
        body: Body,
    },
    Reply {
        slot: Slot,
        metadata: bool,
        body: Body,
    },
    Message {
        id: Id,
        body: Body,
    },
    End {
        id: Id,
        code: u8,
        text: bool,
        refused: bool,
    },
    Cancel(Slot),
    Credit(For, Grant),
    Move(u8, u8),
    Unknown(u8),
}

/// The contents of a hello.
#[derive(Debug, Arbitrary)]
pub(crate) struct Announcement {
    more_than_minimum: bool,
    default_timeout: bool,
    /// The role: none, or that of a side.
    role: u8,
}

/// A call of the side that the packet is about: mostly one that fits the packet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slot {
    Fitting(u8),
    Any(u8),
    /// A call of the other side, which the packet cannot be about.
    WrongSide(u8),
}

/// A call of either side.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) struct Id {
    of_peer: bool,
    slot: Slot,
}

/// The kind of credit.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum For {
    Call(Id),
    Requests,
    Replies,
}

/// An amount of credit.
#[derive(Debug, Arbitrary)]
pub(crate) enum Grant {
    Little(u8),
    Much(Length),
    TooMuch,
}

/// The message bytes of a packet.
#[derive(Debug, Arbitrary)]
pub(crate) enum Body {
    Nothing,
    Whole(Length, bool),
    First(Length, Length),
    More(Length),
    /// The rest of the message, or another number of bytes.
    Last(Option<Length>, bool),
}

impl<'a> Arbitrary<'a> for Sent {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u8::arbitrary(input)? {
            0..=69 => Self::Call {
                slot: input.arbitrary()?,
                one_way: input.ratio(1, 5)?,
                timeout_ms: input.arbitrary()?,
                metadata: input.arbitrary()?,
                body: input.arbitrary()?,
            },
            70..=109 => Self::Reply {
                slot: input.arbitrary()?,
                metadata: input.arbitrary()?,
                body: input.arbitrary()?,
            },
            110..=179 => Self::Message {
                id: input.arbitrary()?,
                body: input.arbitrary()?,
            },
            180..=199 => Self::End {
                id: input.arbitrary()?,
                code: input.arbitrary()?,
                text: input.arbitrary()?,
                refused: input.ratio(1, 5)?,
            },
            200..=211 => Self::Cancel(input.arbitrary()?),
            212..=239 => Self::Credit(input.arbitrary()?, input.arbitrary()?),
            240..=243 => Self::Ping(input.arbitrary()?),
            244..=247 => Self::Pong(input.arbitrary()?),
            248..=251 => Self::Hello(input.arbitrary()?),
            252 => Self::Drain(input.arbitrary()?),
            253 => Self::Move(input.arbitrary()?, input.arbitrary()?),
            254 => Self::Unknown(input.arbitrary()?),
            255 => Self::Close,
        })
    }
}

impl<'a> Arbitrary<'a> for Slot {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u8::arbitrary(input)? {
            byte @ 0..=223 => Self::Fitting(byte),
            byte @ 224..=247 => Self::Any(byte - 224),
            byte => Self::WrongSide(byte - 248),
        })
    }
}

impl Slot {
    /// A possible call. A fitting one is the n-th of `calls`, modulo their number.
    fn call(self, side: Side, calls: &[CallId]) -> CallId {
        match self {
            Self::Fitting(number) => {
                let at = usize::from(number).checked_rem(calls.len());
                let any = CallId::new(side, u32::from(number % 4));
                at.map_or(any, |at| calls[at])
            }
            Self::Any(number) => CallId::new(side, number.into()),
            Self::WrongSide(number) => CallId::new(side.other(), number.into()),
        }
    }
}

impl Body {
    /// The chunk, and whether it continues a message of which `missing` bytes are missing.
    fn chunk(&self, missing: Option<usize>) -> Option<(Chunk, bool)> {
        let chunk = |length: Length| Chunk {
            bytes: length.bytes(),
            total: None,
            more: false,
            end: false,
        };
        Some(match *self {
            Self::Nothing => return None,
            Self::Whole(length, end) => (
                Chunk {
                    end,
                    ..chunk(length)
                },
                false,
            ),
            Self::First(length, Length(total)) => {
                let total = Some(total as u32);
                let more = true;
                (
                    Chunk {
                        total,
                        more,
                        ..chunk(length)
                    },
                    false,
                )
            }
            Self::More(length) => (
                Chunk {
                    more: true,
                    ..chunk(length)
                },
                true,
            ),
            Self::Last(length, end) => {
                let length = length.unwrap_or_else(|| Length(missing.unwrap_or(1)));
                (
                    Chunk {
                        end,
                        ..chunk(length)
                    },
                    true,
                )
            }
        })
    }

    /// The first chunk of a call or a reply.
    fn first(&self) -> Option<Chunk> {
        let chunk = self.chunk(None);
        chunk
            .filter(|(_, continues)| !continues)
            .map(|(chunk, _)| chunk)
    }
}

impl Sent {
    /// A hello without entries.
    pub(crate) fn minimal_hello() -> Packet {
        hello(&Announcement {
            more_than_minimum: false,
            default_timeout: false,
            role: 0,
        })
    }

    /// The packet, sent to the machine of a side; `None` if there is no such packet.
    pub(crate) fn packet(&self, machine: Side, rules: Option<&Rules>) -> Option<Packet> {
        let call = |side: Side, slot: Slot| {
            let calls = rules.map(|rules| rules.in_flight(side));
            slot.call(side, &calls.unwrap_or_default())
        };
        let of = |id: Id| match id.of_peer {
            true => call(machine.other(), id.slot),
            false => call(machine, id.slot),
        };
        let packet = match self {
            Self::Hello(announced) => hello(announced),
            Self::Ping(data) => Packet::Ping((*data).into()),
            Self::Pong(data) => Packet::Pong((data % 4).into()),
            Self::Drain(accepted) => Packet::Drain {
                accepted: (*accepted).into(),
            },
            Self::Close => Packet::Close {
                code: CloseCode::Normal,
                text: String::new(),
            },
            Self::Call { slot, .. } => {
                let free = rules.map(Rules::free_slot);
                self.call(slot.call(machine.other(), free.as_slice()))?
            }
            Self::Reply {
                slot,
                metadata,
                body,
            } => Packet::Reply(Reply {
                call: call(machine, *slot),
                metadata: entries(*metadata),
                chunk: body.first(),
            }),
            Self::Message { id, body } => {
                let missing = rules.and_then(|rules| rules.missing(of(*id)));
                let (chunk, continues) = body.chunk(missing)?;
                Packet::Message {
                    call: of(*id),
                    chunk,
                    continues,
                }
            }
            Self::End {
                id,
                code,
                text,
                refused,
            } => Packet::End(End {
                refused: *refused,
                ..end(of(*id), *code, *text)
            }),
            Self::Cancel(slot) => Packet::Cancel(call(machine.other(), *slot)),
            Self::Credit(which, granted) => Packet::Credit {
                of: match *which {
                    For::Call(id) => CreditOf::Call(of(id)),
                    For::Requests => CreditOf::Requests,
                    For::Replies => CreditOf::Replies,
                },
                bytes: granted.bytes(),
            },
            Self::Move(before, after) => {
                let time = |millis: u8| Duration::from_millis(millis.into());
                let relocation = Relocation::new(time(*before), time(*after), "tcp://b:1");
                Packet::Move(relocation.ok()?)
            }
            Self::Unknown(kind) => Packet::Unknown(kind | 129),
        };
        as_read(&packet)
    }

    fn call(&self, call: CallId) -> Option<Packet> {
        let Self::Call {
            one_way,
            timeout_ms,
            metadata,
            body,
            ..
        } = self
        else {
            return None;
        };
        let chunk = body.first();
        let needs_id = !one_way || chunk.as_ref().is_some_and(|chunk| chunk.more);
        Some(Packet::Call(Call {
            call: needs_id.then_some(call),
            service: ServiceId(7),
            method: MethodId(1),
            timeout_ms: timeout_ms.map(u32::from),
            one_way: *one_way,
            metadata: entries(*metadata),
            chunk,
        }))
    }
}

impl Grant {
    fn bytes(&self) -> u32 {
        match self {
            Self::Little(bytes) => (*bytes).into(),
            Self::Much(Length(bytes)) => *bytes as u32,
            Self::TooMuch => 1 << 31,
        }
    }
}

/// The packet as the decoder reads it. `None` if it cannot be encoded: the decoder's own target
/// covers bytes that are no packet.
fn as_read(packet: &Packet) -> Option<Packet> {
    let mut bytes = BytesMut::new();
    packet.encode(&mut bytes);
    decode(&mut bytes, &ANY).ok().flatten()
}

/// Makes a hello by decoding one.
fn hello(announced: &Announcement) -> Packet {
    let mut payload = Vec::new();
    let mut entry = |kind: u16, value: u32| {
        payload.extend_from_slice(&kind.to_be_bytes());
        payload.extend_from_slice(&4_u32.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    };
    if announced.more_than_minimum {
        let limits = Limits::default();
        entry(1, limits.max_packet_bytes);
        entry(2, limits.max_message_bytes);
        entry(5, 70);
        entry(6, 2 * MIN_CREDIT_BYTES);
        entry(7, 2 * MIN_CREDIT_BYTES);
        entry(12, 3 * MIN_CREDIT_BYTES);
    }
    if announced.default_timeout {
        entry(8, 100);
    }
    let role = announced.role % 3;
    if role > 0 {
        payload.extend_from_slice(&[0, 14, 0, 0, 0, 1, role]);
    }
    let mut bytes = BytesMut::from(&[0, 0, 0, payload.len() as u8, 1][..]);
    bytes.extend_from_slice(&[0; 7]);
    bytes.extend_from_slice(&payload);
    let hello = decode(&mut bytes, &Limits::MINIMUM);
    hello.expect("a hello").expect("all of it")
}

fn entries(some: bool) -> Metadata {
    let mut metadata = Metadata::new();
    if some {
        metadata.append("key", "value").expect("a valid entry");
    }
    metadata
}
