//! Feeds any bytes into the decoder. It never panics, encoding a decoded packet gives the same
//! bytes, and the result does not depend on how the bytes are split.
//!
//! A packet has exactly one form on the wire, with these exceptions:
//!
//! - a hello, whose entries may have any order, be missing, or be unknown;
//! - a metadata block without entries;
//! - an end with an empty text and no details, or with a code that gRPC does not define;
//! - a packet of a kind that is skipped, whose contents are lost;
//! - a close with a text over 1,024 bytes, which is cut when it is encoded.

use bytes::BytesMut;
use wawo_protocol::{
    Code, Limits, MIN_PACKET_BYTES, Metadata, PeerMisbehaved,
    packet::{End, HEADER_BYTES, Packet, decode, decode_preface},
};

pub(crate) fn run(data: &[u8]) {
    preface(data);
    for limits in [Limits::default(), Limits::MINIMUM] {
        packets(data, &limits);
    }
}

/// An invalid preface is detected at the same byte, however the bytes are split.
fn preface(data: &[u8]) {
    let at_once = decode_preface(&mut BytesMut::from(data));
    let mut input = BytesMut::new();
    let by_bytes = data.iter().map(|byte| {
        input.extend_from_slice(&[*byte]);
        decode_preface(&mut input)
    });
    let decided = by_bytes.into_iter().find(|read| *read != Ok(false));
    assert_eq!(at_once.ok(), decided.unwrap_or(Ok(false)).ok());
}

fn packets(data: &[u8], limits: &Limits) {
    let (packets, error) = read(data, data.len().max(1), limits);
    let in_pieces = read(data, 1 + data.len() % 7, limits);
    let mut rest = data;
    for (packet, length) in &packets {
        let (bytes, after) = rest.split_at(*length);
        is_written_back(packet, bytes, limits);
        rest = after;
    }
    assert_eq!(in_pieces, (packets, error));
}

/// Packets with their lengths, and the violation after them.
type Read = (Vec<(Packet, usize)>, Option<PeerMisbehaved>);

/// Decodes bytes that come in parts.
fn read(data: &[u8], part: usize, limits: &Limits) -> Read {
    let mut input = BytesMut::new();
    let mut packets = Vec::new();
    for part in data.chunks(part) {
        input.extend_from_slice(part);
        let mut before = input.len();
        loop {
            match decode(&mut input, limits) {
                Ok(Some(packet)) => packets.push((packet, before - input.len())),
                Ok(None) => break,
                Err(error) => return (packets, Some(error)),
            }
            before = input.len();
        }
    }
    (packets, None)
}

fn is_written_back(packet: &Packet, bytes: &[u8], limits: &Limits) {
    let mut written = BytesMut::new();
    packet.encode(&mut written);
    if is_in_its_form(packet, bytes) {
        assert_eq!(written, bytes, "{packet:?}");
    }
    let fits = match packet {
        Packet::Close { text, .. } => text.len() <= 1024,
        // It is encoded with all entries, which the bytes may leave out.
        Packet::Hello(_) => written.len() <= HEADER_BYTES + MIN_PACKET_BYTES as usize,
        _ => true,
    };
    if fits {
        let again = decode(&mut written, limits);
        assert_eq!(again.as_ref(), Ok(&Some(packet.clone())));
    }
}

/// Whether encoding the packet gives these bytes.
fn is_in_its_form(packet: &Packet, bytes: &[u8]) -> bool {
    match packet {
        Packet::Hello(_) | Packet::Unknown(_) => false,
        Packet::Close { text, .. } => text.len() <= 1024,
        Packet::Call(call) => says_metadata(&call.metadata, bytes),
        Packet::Reply(reply) => says_metadata(&reply.metadata, bytes),
        Packet::End(end) => says_metadata(&end.metadata, bytes) && says_end(end, bytes),
        _ => true,
    }
}

/// Whether the metadata block has at least one entry.
fn says_metadata(metadata: &Metadata, bytes: &[u8]) -> bool {
    const FLAGS: usize = 5;
    const METADATA: u8 = 0x04;
    (bytes[FLAGS] & METADATA != 0) != metadata.is_empty()
}

/// Whether text and details are present only if they are not empty, and the code is one of gRPC's.
fn says_end(end: &End, bytes: &[u8]) -> bool {
    let number = u16::from_be_bytes([bytes[6], bytes[7]]);
    let metadata = match end.metadata.is_empty() {
        true => 0,
        false => end.metadata.encoded_len(),
    };
    let silent = end.text.is_empty() && end.details.is_empty();
    let empty = bytes.len() == HEADER_BYTES + metadata;
    Code::from_wire(number).to_wire() == number && silent == empty
}
