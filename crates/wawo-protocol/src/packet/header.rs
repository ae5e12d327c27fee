//! The header of a packet: 12 bytes, numbers in network byte order.
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0..4 | length | bytes of payload that follow the header |
//! | 4 | kind | |
//! | 5 | flags | |
//! | 6..8 | code | status of an end, reason of a close; else zero |
//! | 8..12 | call id | zero if the packet belongs to no call |

use crate::{error::PeerMisbehaved, id::CallId};

/// The size of the header of every packet.
pub const HEADER_BYTES: usize = 12;

/// The packet kinds of version 1, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Hello = 1,
    Ping = 2,
    Pong = 3,
    Drain = 4,
    Close = 5,
    Call = 6,
    Reply = 7,
    Message = 8,
    End = 9,
    Cancel = 10,
    Credit = 11,
    Move = 128,
}

/// A side that does not know a kind from this number on skips its packets.
const FIRST_SKIPPABLE: u8 = 128;

/// The direction ends with this message.
pub(crate) const END: u8 = 0x01;
/// The message goes on in the next message packet.
pub(crate) const MORE: u8 = 0x02;
/// A metadata block stands in the payload.
pub(crate) const METADATA: u8 = 0x04;
/// A timeout stands in the payload.
pub(crate) const TIMEOUT: u8 = 0x08;
/// The call wants no reply.
pub(crate) const ONE_WAY: u8 = 0x10;
/// No message comes with this call or reply.
pub(crate) const NO_MESSAGE: u8 = 0x20;
/// This packet continues the message of the one before.
pub(crate) const CONTINUES: u8 = 0x40;
/// On an end: the call was certainly not served.
pub(crate) const REFUSED: u8 = 0x80;
/// On a credit without a call: it is for replies, not for requests.
pub(crate) const REPLIES: u8 = 0x80;

/// The kinds in the order of their numbers, with their names, and the flags that their packets may carry.
const KINDS: [(Kind, &str, u8); 12] = [
    (Kind::Hello, "hello", 0),
    (Kind::Ping, "ping", 0),
    (Kind::Pong, "pong", 0),
    (Kind::Drain, "drain", 0),
    (Kind::Close, "close", 0),
    (
        Kind::Call,
        "call",
        END | MORE | METADATA | TIMEOUT | ONE_WAY | NO_MESSAGE,
    ),
    (Kind::Reply, "reply", END | MORE | METADATA | NO_MESSAGE),
    (Kind::Message, "message", END | MORE | CONTINUES),
    (Kind::End, "end", METADATA | REFUSED),
    (Kind::Cancel, "cancel", 0),
    (Kind::Credit, "credit", REPLIES),
    (Kind::Move, "move", 0),
];

impl Kind {
    fn from_wire(number: u8) -> Result<Self, PeerMisbehaved> {
        let row = row_of(number).map(|row| KINDS[row].0);
        row.ok_or(PeerMisbehaved::UnknownKind(number))
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().1
    }

    /// The flags that a packet of this kind may carry.
    fn flags(self) -> u8 {
        self.row().2
    }

    fn row(self) -> &'static (Self, &'static str, u8) {
        // Each kind has a row.
        &KINDS[row_of(self as u8).unwrap_or(0)]
    }
}

/// The row of the kind with this number.
fn row_of(number: u8) -> Option<usize> {
    const MOVE: u8 = Kind::Move as u8;
    match number {
        1..=11 => Some(usize::from(number) - 1),
        MOVE => Some(11),
        _ => None,
    }
}

/// A header as it came: its numbers are read, and nothing is checked. No other code parses the
/// length of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawHeader {
    /// Bytes of payload.
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) code: u16,
    pub(crate) call: u32,
}

impl RawHeader {
    /// The header of the first packet of `input`, if all of it has come.
    #[inline]
    pub(crate) fn read(input: &[u8]) -> Option<Self> {
        let [l0, l1, l2, l3, kind, flags, c0, c1, i0, i1, i2, i3] =
            *input.first_chunk::<HEADER_BYTES>()?;
        Some(Self {
            length: u32::from_be_bytes([l0, l1, l2, l3]),
            kind,
            flags,
            code: u16::from_be_bytes([c0, c1]),
            call: u32::from_be_bytes([i0, i1, i2, i3]),
        })
    }

    /// Whether the packet is of a kind that this side does not know, and has to skip.
    pub(crate) fn is_skipped(&self) -> bool {
        self.kind >= FIRST_SKIPPABLE && row_of(self.kind).is_none()
    }

    /// The length of the packet with its header, in bytes. Where pointers have 32 bits it may not
    /// fit; then it is the greatest number.
    #[inline]
    pub(crate) fn packet_len(&self) -> usize {
        HEADER_BYTES.saturating_add(self.length as usize)
    }
}

/// The payload of the first packet of `packets`, if it is whole.
#[inline]
pub(crate) fn first_payload(packets: &[u8]) -> Option<&[u8]> {
    let header = RawHeader::read(packets)?;
    packets.get(HEADER_BYTES..header.packet_len())
}

/// A header that has passed every check that needs no payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) code: u16,
    pub(crate) call: Option<CallId>,
}

impl Header {
    pub(crate) fn check(raw: RawHeader) -> Result<Self, PeerMisbehaved> {
        let header = Self {
            kind: Kind::from_wire(raw.kind)?,
            flags: raw.flags,
            code: raw.code,
            call: CallId::from_wire(raw.call),
        };
        header.check_flags()?;
        header.check_numbers()?;
        Ok(header)
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn check_flags(&self) -> Result<(), PeerMisbehaved> {
        let both = |one, other| self.has(one) && self.has(other);
        let unknown = self.flags & !self.kind.flags() != 0;
        let unended_one_way = self.has(ONE_WAY) && !self.has(END) && !self.has(MORE);
        // `END` needs a message in the packet, and no further chunks of it.
        if unknown || both(END, MORE) || both(NO_MESSAGE, END | MORE | ONE_WAY) || unended_one_way {
            return Err(PeerMisbehaved::Flags {
                kind: self.kind.name(),
                flags: self.flags,
            });
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), PeerMisbehaved> {
        let wrong = |field, value| PeerMisbehaved::Header {
            kind: self.kind.name(),
            field,
            value,
        };
        if self.code != 0 && !matches!(self.kind, Kind::End | Kind::Close) {
            return Err(wrong("code", self.code.into()));
        }
        let call = self.call.map_or(0, CallId::to_wire);
        let fits = match self.kind {
            Kind::Hello | Kind::Ping | Kind::Pong | Kind::Drain | Kind::Close | Kind::Move => {
                call == 0
            }
            Kind::Reply | Kind::Message | Kind::End | Kind::Cancel => call != 0,
            // The id is zero for a one-way call in one packet, and for no other call.
            Kind::Call => (call == 0) == (self.has(ONE_WAY) && !self.has(MORE)),
            // The id is zero for shared credit, and only then the packet may have the flag
            // `REPLIES`.
            Kind::Credit => call == 0 || !self.has(REPLIES),
        };
        fits.then_some(()).ok_or_else(|| wrong("call id", call))
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, RawHeader, first_payload};

    #[test]
    fn each_kind_has_its_row() {
        for number in 0..=u8::MAX {
            match Kind::from_wire(number) {
                Ok(kind) => assert_eq!((kind as u8, kind.row().0), (number, kind)),
                Err(_) => assert!(matches!(number, 0 | 12..=127 | 129..=255), "{number}"),
            }
        }
    }

    #[test]
    fn a_header_is_read_when_all_of_it_has_come() {
        let mut packet = vec![0, 0, 0, 2, 6, 1, 0, 9, 0, 0, 1, 0, b'h', b'i'];
        for cut in 0..packet.len() {
            assert_eq!(RawHeader::read(&packet[..cut]).is_some(), cut >= 12);
            assert_eq!(first_payload(&packet[..cut]), None);
        }
        let header = RawHeader::read(&packet).unwrap();
        assert_eq!((header.length, header.packet_len()), (2, 14));
        assert_eq!((header.kind, header.flags), (6, 1));
        assert_eq!((header.code, header.call), (9, 256));
        packet.push(7);
        assert_eq!(first_payload(&packet), Some(&b"hi"[..]));
    }

    /// The longest packet would end past the memory where pointers have 32 bits.
    #[test]
    fn the_longest_length_is_no_overflow() {
        let header = RawHeader::read(&[0xff; 12]).unwrap();
        assert_eq!(
            header.packet_len(),
            12_usize.saturating_add(u32::MAX as usize)
        );
    }
}
