//! Ids of calls by side and slot, ids and fingerprints by name, and shapes by streams.

use wawo_protocol::{CallId, Fingerprint, MethodId, ServiceId, Shape, Side};

#[test]
fn call_ids_are_split_by_side_and_name_their_slot() {
    for index in [0, 1, 2, 1000] {
        for side in [Side::Connecting, Side::Accepting] {
            let id = CallId::new(side, index);
            assert_eq!((id.side(), id.index()), (side, index as usize));
            assert_eq!(CallId::from_wire(id.to_wire()), Some(id));
        }
    }
    assert_eq!(CallId::from_wire(0), None);
}

#[test]
fn derived_ids_are_fnv_1a_with_the_highest_bit() {
    // Values published with the hash, which have the bit.
    const FOOBAR: ServiceId = ServiceId::of("foobar");
    assert_eq!(FOOBAR.0, 0xbf9c_f968);
    assert_eq!(ServiceId::of("a").0, 0xe40c_292c);
    assert_eq!(MethodId::of("").0, 0x811c_9dc5);
    assert!(ServiceId::of("chat.v1.Chat").0 > i32::MAX as u32);
}

#[test]
fn the_hash_of_a_fingerprint_is_fnv_1a() {
    // A value published with the hash: the name is followed by a line feed.
    let fingerprint = Fingerprint::new("chongo was here!");
    assert_eq!(fingerprint.value(), 0x4681_0940_eff5_f915);
}

#[test]
fn a_fingerprint_depends_on_all_that_a_schema_says_of_a_method() {
    let of = |name, id, shape, input, output| {
        let mut fingerprint = Fingerprint::new("a.A");
        fingerprint.add_method(name, MethodId(id), shape, input, output);
        fingerprint.value()
    };
    let first = of("B", 1, Shape::Unary, "a.In", "a.Out");
    assert_eq!(first, of("B", 1, Shape::Unary, "a.In", "a.Out"));
    for other in [
        of("C", 1, Shape::Unary, "a.In", "a.Out"),
        of("B", 2, Shape::Unary, "a.In", "a.Out"),
        of("B", 1, Shape::OneWay, "a.In", "a.Out"),
        of("B", 1, Shape::Unary, "a.Other", "a.Out"),
        of("B", 1, Shape::Unary, "a.In", "a.Other"),
    ] {
        assert_ne!(first, other);
    }
}

#[test]
fn a_shape_follows_from_its_streams() {
    for shape in [
        Shape::Unary,
        Shape::ServerStreaming,
        Shape::ClientStreaming,
        Shape::BidiStreaming,
    ] {
        let (requests, replies) = (shape.streams_requests(), shape.streams_replies());
        assert_eq!(Shape::of_streams(requests, replies), shape);
        assert_eq!(shape.is_stream(), shape != Shape::Unary);
    }
    assert!(!Shape::OneWay.is_stream());
}
