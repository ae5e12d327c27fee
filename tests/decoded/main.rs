//! Compares the predicted memory of decoding with the count of an allocator.

#![allow(clippy::unwrap_used, reason = "tests")]

mod random;

use peak_alloc::PeakAlloc;
use prost::{Message, bytes::Bytes};
use wawo::{Layout, MethodDescriptor};
use wawo_test_protos::tests::multiply::{
    Everything, FILE_DESCRIPTOR_SET, multiply_service::method,
};

use crate::random::{Random, Schema};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The peak heap bytes of decoding, including the message itself.
fn taken<M: Message + Default>(bytes: &Bytes) -> usize {
    let bytes = bytes.clone();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let decoded = M::decode(bytes);
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    drop(decoded);
    peak + size_of::<M>()
}

fn layout(method: &MethodDescriptor) -> &'static Layout {
    method.request_layout().expect("it has fields")
}

/// Fields of `Everything` that multiply, each as bytes that are repeated, and the allowed ratio:
/// the prediction must not be below the memory taken, and not above it by more than this ratio.
const MULTIPLIED: [(&str, &[u8], f64); 24] = [
    ("empty elements", &[0x0A, 0], 1.1),
    ("elements with five fields", &[0x12, 0], 1.1),
    ("elements of 4 KiB", &[0x1A, 0], 1.1),
    ("elements of 64 KiB", &[0x22, 0], 1.1),
    ("empty strings", &[0x2A, 0], 1.1),
    ("strings of a letter", &[0x2A, 1, b'a'], 1.7),
    ("shared bytes", &[0x32, 0], 1.1),
    ("flags", &[0x3A, 4, 0, 1, 0, 1], 1.1),
    ("numbers", &[0x42, 4, 0, 1, 0, 1], 1.1),
    ("entries of a map with one key", &[0x5A, 0], 1e9),
    ("children with a child", &[0x7A, 2, 0x7A, 0], 1.2),
    ("copied bytes", &[0xCA, 1, 3, 0x0A, 1, 7], 2.2),
    ("required fields with defaults", &[0xD2, 1, 0], 1.8),
    ("a merged child", &[0x72, 2, 0x0A, 0], 1e9),
    ("required boxes in a circle", &[0xE2, 1, 0], 1.1),
    (
        "the same, with something in it",
        &[0xE2, 1, 2, 0x0A, 0],
        2.2,
    ),
    ("entries with such a value", &[0xEA, 1, 0], 1e9),
    ("groups with such a field", &[0xF2, 1, 2, 0x0B, 0x0C], 1.2),
    (
        "groups in these",
        &[0xF2, 1, 4, 0x0B, 0x13, 0x14, 0x0C],
        1.2,
    ),
    (
        "such a group that may stand once",
        &[0xF2, 1, 2, 0x1B, 0x1C],
        1.2,
    ),
    ("such a field in a oneof", &[0xFA, 1, 0], 1e9),
    (
        "both fields of a oneof in turn",
        &[0xFA, 1, 0, 0x82, 2, 0],
        1e9,
    ),
    ("late numbers", &[0x88, 2, 1], 40.0),
    ("late elements of 4 KiB", &[0x92, 2, 0], 3.0),
];

/// A single test, because the allocator counts all threads.
#[test]
fn the_prediction_is_never_below_the_memory_taken() {
    multiplied_fields();
    packs_of_many_numbers();
    packs_of_late_fields();
    many_entries_of_maps_with_boxes();
    maps_of_many_keys();
    merged_messages();
    deep_messages();
    random_messages();
}

/// However deeply messages and groups are nested, known or not, a small stack and a short time
/// suffice.
fn deep_messages() {
    let measured = || {
        let layout = layout(&method::HOLD);
        let mut child = Vec::new();
        for _ in 0..2_000 {
            let mut around = vec![0x72];
            prost::encoding::encode_varint(child.len() as u64, &mut around);
            around.append(&mut child);
            child = around;
        }
        // Groups of an unknown field, and of a message field.
        let groups = [[0xFB, 0x7F], [0x73, 0x73]].map(|group| group.repeat(1_000_000));
        let all = [child, groups[0].clone(), groups[1].clone()];
        all.map(|bytes| layout.measure(&bytes))
    };
    let thread = std::thread::Builder::new().stack_size(256 * 1024);
    let told = thread.spawn(measured).unwrap().join().unwrap();
    // Nested as deeply as decoding allows, and no deeper.
    assert!(
        told.iter()
            .all(|told| *told < 300 * size_of::<Everything>()),
        "{told:?}"
    );
}

fn multiplied_fields() {
    let layout = layout(&method::HOLD);
    for (name, field, most) in MULTIPLIED {
        for times in [1, 3, 17, 5_000] {
            let bytes = Bytes::from(field.repeat(times));
            let (told, taken) = (layout.measure(&bytes), taken::<Everything>(&bytes));
            assert!(told >= taken, "{name} {times}: {told} told, {taken} taken");
            let factor = told as f64 / taken as f64;
            assert!(times < 1_000 || factor < most, "{name} {times}: {factor}");
        }
    }
}

fn packs_of_many_numbers() {
    let layout = layout(&method::HOLD);
    for numbers in [1, 8, 9, 4_096, 4_097, 100_000] {
        let message = Everything {
            flags: vec![true; numbers],
            numbers: vec![7; numbers],
            fixed: vec![7; numbers],
            ..Everything::default()
        };
        let bytes = Bytes::from(message.encode_to_vec());
        let (told, taken) = (layout.measure(&bytes), taken::<Everything>(&bytes));
        assert!(
            told >= taken && told < 2 * taken,
            "{numbers}: {told} told, {taken} taken"
        );
    }
}

/// The sixteen fields whose elements are counted come first. Each has a length at which vectors
/// grow, with more elements in one part or in many.
fn packs_of_late_fields() {
    let layout = layout(&method::HOLD);
    for field in [1, 15, 16, 17, 19] {
        for (first, more) in [
            (65_536, vec![]),
            (65_536, vec![1]),
            (65_536, vec![1; 3]),
            (32_769, vec![32_768]),
            (1, vec![1; 5_000]),
        ] {
            let mut late = Vec::new();
            for numbers in std::iter::once(first).chain(more.clone()) {
                let pack = vec![0_u8; numbers];
                prost::encoding::bytes::encode(field, &pack, &mut late);
            }
            let mut bytes = Vec::new();
            prost::encoding::bytes::encode(36, &late, &mut bytes);
            let bytes = Bytes::from(bytes);
            let (told, taken) = (layout.measure(&bytes), taken::<Everything>(&bytes));
            let name = format!("field {field}, {first} and {} parts", more.len());
            assert!(told >= taken, "{name}: {told} told, {taken} taken");
        }
    }
}

fn many_entries_of_maps_with_boxes() {
    let layout = layout(&method::HOLD);
    for entries in [1, 4, 29, 1_793] {
        let rings = (0..entries).map(|key| (key, Default::default()));
        let late = (0..entries).map(|key| (key, Default::default()));
        let message = Everything {
            rings_by_number: rings.collect(),
            late_by_number: late.collect(),
            ..Everything::default()
        };
        let bytes = Bytes::from(message.encode_to_vec());
        let (told, taken) = (layout.measure(&bytes), taken::<Everything>(&bytes));
        assert!(
            told >= taken && told < 3 * taken,
            "{entries}: {told} told, {taken} taken"
        );
    }
}

fn maps_of_many_keys() {
    let layout = layout(&method::HOLD);
    for entries in [1, 4, 29, 1_793, 10_000] {
        let by_number = (0..entries).map(|key| (key, Default::default())).collect();
        let by_text = (0..entries)
            .map(|key| (key.to_string(), String::new()))
            .collect();
        let message = Everything {
            by_number,
            by_text,
            ..Everything::default()
        };
        let bytes = Bytes::from(message.encode_to_vec());
        let (told, taken) = (layout.measure(&bytes), taken::<Everything>(&bytes));
        assert!(
            told >= taken && told < 2 * taken,
            "{entries}: {told} told, {taken} taken"
        );
    }
}

/// When a message comes twice, its vectors continue to grow.
fn merged_messages() {
    let layout = layout(&method::HOLD);
    for first in [1, 4, 1_024, 1_025] {
        let child = Everything {
            nothings: vec![Default::default(); first],
            ..Everything::default()
        };
        for more in 1..4 {
            let one = Everything {
                fives: vec![Default::default(); first],
                child: Some(Box::new(child.clone())),
                ..Everything::default()
            };
            let mut bytes = one.encode_to_vec();
            for _ in 0..more {
                bytes.extend_from_slice(&[0x72, 4, 0x0A, 0, 0x12, 0]);
            }
            let bytes = Bytes::from(bytes);
            let (told, taken) = (layout.measure(&bytes), taken::<Everything>(&bytes));
            assert!(
                told >= taken,
                "{first} and {more}: {told} told, {taken} taken"
            );
        }
    }
}

fn random_messages() {
    let schema = Schema::new(FILE_DESCRIPTOR_SET);
    let (mut whole, mut factors) = (0_u32, 0.0);
    const SEEDS: u64 = 2_000;
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let bytes = Bytes::from(schema.message(&mut random, ".tests.multiply.Everything"));
        let (told, taken) = (
            layout(&method::HOLD).measure(&bytes),
            taken::<Everything>(&bytes),
        );
        // An error records each message that it passed through.
        let is_whole = Everything::decode(bytes.clone()).is_ok();
        let error_bytes = if is_whole { 0 } else { 1024 };
        let enough = told + error_bytes >= taken;
        assert!(enough, "seed {seed}: {told} told, {taken} taken, {bytes:?}");
        if is_whole {
            whole += 1;
            factors += told as f64 / taken as f64;
        }
    }
    let factor = factors / f64::from(whole);
    assert!(u64::from(whole) > SEEDS / 2, "{whole} can be decoded");
    assert!(factor < 2.0, "{factor} times what is taken is told");
}
