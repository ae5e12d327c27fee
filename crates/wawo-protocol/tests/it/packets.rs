//! Properties of packets: an encoded packet is decoded, and any bytes decode to a packet or an
//! error.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, option, prelude::*};
use wawo_protocol::{
    CallId, CloseCode, Code, Limits, Metadata, MethodId, Relocation, ServiceId,
    packet::{Call, Chunk, CreditOf, End, Packet, Reply, decode},
};

use crate::raw::Raw;

fn payload() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn id() -> impl Strategy<Value = CallId> {
    (1..=u32::MAX).prop_filter_map("not zero", CallId::from_wire)
}

fn metadata() -> impl Strategy<Value = Metadata> {
    vec(("[a-z0-9._-]{1,20}-bin", payload()), 0..5).prop_map(|entries| {
        let mut metadata = Metadata::new();
        for (key, value) in entries {
            metadata.append(key, value).expect("a valid entry");
        }
        metadata
    })
}

/// A chunk that can begin a call, a reply, or a message that continues none.
fn chunk() -> impl Strategy<Value = Chunk> {
    (payload(), any::<bool>(), option::of(any::<u32>())).prop_map(|(bytes, end, total)| {
        let total = total.filter(|_| !bytes.is_empty());
        Chunk {
            more: total.is_some(),
            end: end && total.is_none(),
            bytes,
            total,
        }
    })
}

fn call() -> impl Strategy<Value = Packet> {
    let header = (id(), any::<u32>(), any::<u32>(), option::of(any::<u32>()));
    (header, metadata(), option::of(chunk()), any::<bool>()).prop_map(
        |((id, service, method, timeout_ms), metadata, chunk, one_way)| {
            let chunk_goes_on = chunk.as_ref().is_some_and(|chunk| chunk.more);
            let chunk_ends = chunk.as_ref().is_some_and(|chunk| chunk.end);
            let one_way = one_way && (chunk_goes_on || chunk_ends);
            Packet::Call(Call {
                call: (!one_way || chunk_goes_on).then_some(id),
                service: ServiceId(service),
                method: MethodId(method),
                timeout_ms,
                one_way,
                metadata,
                chunk,
            })
        },
    )
}

fn message() -> impl Strategy<Value = Packet> {
    (id(), chunk(), any::<bool>()).prop_map(|(call, mut chunk, continues)| {
        let continues = continues && !chunk.bytes.is_empty();
        if continues {
            chunk.total = None;
        }
        Packet::Message {
            call,
            chunk,
            continues,
        }
    })
}

fn end() -> impl Strategy<Value = Packet> {
    (
        id(),
        0..=16_u16,
        any::<bool>(),
        metadata(),
        ".{0,40}",
        payload(),
    )
        .prop_map(|(call, code, refused, metadata, text, details)| {
            Packet::End(End {
                call,
                code: Code::from_wire(code),
                refused,
                metadata,
                text,
                details,
            })
        })
}

fn credit_of() -> impl Strategy<Value = CreditOf> {
    prop_oneof![
        id().prop_map(CreditOf::Call),
        Just(CreditOf::Requests),
        Just(CreditOf::Replies),
    ]
}

fn relocation() -> impl Strategy<Value = Relocation> {
    (any::<u32>(), any::<u32>(), ".{0,40}").prop_map(|(one, other, address)| {
        let time = |millis: u32| Duration::from_millis(millis.into());
        let (before, after) = (one.min(other), one.max(other));
        Relocation::new(time(before), time(after), address).expect("in order, and short")
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        any::<u64>().prop_map(Packet::Ping),
        any::<u64>().prop_map(Packet::Pong),
        any::<u64>().prop_map(|accepted| Packet::Drain { accepted }),
        (0..10_u16, ".{0,40}").prop_map(|(code, text)| Packet::Close {
            code: CloseCode::from_wire(code),
            text
        }),
        call(),
        (id(), metadata(), option::of(chunk())).prop_map(|(call, metadata, chunk)| {
            Packet::Reply(Reply {
                call,
                metadata,
                chunk,
            })
        }),
        message(),
        end(),
        id().prop_map(Packet::Cancel),
        (credit_of(), 1..=u32::MAX).prop_map(|(of, bytes)| Packet::Credit { of, bytes }),
        relocation().prop_map(Packet::Move),
        (129..=u8::MAX).prop_map(Packet::Unknown),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn encoded_packets_are_decoded(packets in vec(packet(), 1..8)) {
        let mut bytes = BytesMut::new();
        packets.iter().for_each(|packet| packet.encode(&mut bytes));
        for packet in packets {
            let read = decode(&mut bytes, &Limits::default());
            prop_assert_eq!(read, Ok(Some(packet)));
        }
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn any_split_gives_the_same_packets(
        packets in vec(packet(), 1..8),
        cuts in vec(1..50_usize, 1..20),
    ) {
        let mut bytes = BytesMut::new();
        packets.iter().for_each(|packet| packet.encode(&mut bytes));
        let mut input = BytesMut::new();
        let mut read = Vec::new();
        let mut cuts = cuts.into_iter().cycle();
        while !bytes.is_empty() {
            let length = cuts.next().unwrap_or(1).min(bytes.len());
            input.extend_from_slice(&bytes.split_to(length));
            while let Some(packet) = decode(&mut input, &Limits::default()).expect("valid") {
                read.push(packet);
            }
        }
        prop_assert_eq!(read, packets);
        prop_assert!(input.is_empty());
    }

    #[test]
    fn a_packet_that_was_read_is_written_back_to_mean_the_same(bytes in vec(any::<u8>(), 0..80)) {
        // Plausible lengths and kinds, followed by any bytes.
        let mut input = BytesMut::new();
        input.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        input.extend_from_slice(&bytes);
        let mut rest = input.clone();
        rest.extend_from_slice(&[0; 12]);
        if let Ok(Some(packet)) = decode(&mut rest, &Limits::default()) {
            let mut again = BytesMut::new();
            packet.encode(&mut again);
            prop_assert_eq!(decode(&mut again, &Limits::default()), Ok(Some(packet)));
        }
    }

    #[test]
    fn a_machine_takes_any_bytes_without_a_panic(
        packets in vec(packet(), 0..6),
        garbage in vec(any::<u8>(), 0..100),
        flips in vec((any::<prop::sample::Index>(), 1..=255_u8), 0..4),
    ) {
        let mut bytes = BytesMut::new();
        packets.iter().for_each(|packet| packet.encode(&mut bytes));
        bytes.extend_from_slice(&garbage);
        for (at, flip) in flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
            }
        }
        let mut raw = Raw::open();
        let ended = raw.feed(&bytes).is_err();
        prop_assert_eq!(raw.machine.is_closed(), ended);
        raw.said();
    }
}

#[test]
fn a_reason_to_close_says_that_it_was_cut() {
    for (text, length, end) in [
        ("gone".to_owned(), 4, "gone"),
        ("x".repeat(2_000), 1024, "x… [cut: a text with 2000 bytes]"),
    ] {
        let code = CloseCode::Normal;
        let mut bytes = BytesMut::new();
        Packet::Close { code, text }.encode(&mut bytes);
        let packet = decode(&mut bytes, &Limits::default());
        let Ok(Some(Packet::Close { text, .. })) = packet else {
            panic!("{packet:?}");
        };
        assert_eq!(text.len(), length);
        assert!(text.ends_with(end), "{text}");
    }
}
