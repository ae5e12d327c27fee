//! Lengths and counts that a peer merely states.

use wawo::Code;

use crate::{
    memory::{OPENING_BYTES, least, peak},
    raw::Raw,
    target::{Alone, Target},
    wire::{
        CALL, END, END_OF, HELLO, MESSAGE, METADATA, MORE, REPLY, SAY, Wire, call, packet, unary,
    },
};

/// The allowed cost of a claim: a read buffer, a reply, and the honest calls beside it.
const MAX_BYTES: usize = 64 * 1024;

/// Claims, each sent after the hellos.
fn claims() -> Vec<(&'static str, Wire)> {
    let four_gigabytes = |kind: u8| packet(kind).call(1).claim(u32::MAX);
    vec![
        ("a call of 4 GiB", unary(1, SAY, "hi").claim(u32::MAX)),
        ("a reply of 4 GiB", four_gigabytes(REPLY)),
        ("a message of 4 GiB", four_gigabytes(MESSAGE)),
        ("an end of 4 GiB", four_gigabytes(END_OF)),
        ("a hello of 4 GiB", packet(HELLO).claim(u32::MAX)),
        (
            "a packet of 16 KiB that never comes",
            packet(CALL).flags(END).call(1).claim(16 * 1024),
        ),
        (
            "a total of 64 KiB",
            call(1, SAY, MORE).u32(64 * 1024).bytes("a"),
        ),
        (
            "a total of 4 GiB",
            call(1, SAY, MORE).u32(u32::MAX).bytes("a"),
        ),
        (
            "65,535 entries of metadata",
            call(1, SAY, END | METADATA).u16(u16::MAX),
        ),
        (
            "64 entries of metadata",
            call(1, SAY, END | METADATA).u16(64),
        ),
        ("a text of 64 KiB", packet(END_OF).call(1).u16(u16::MAX)),
    ]
}

/// Attack 1, promise 5: memory grows with the bytes that have come, never with a stated length.
#[tokio::test(start_paused = true)]
async fn a_claim_of_four_gigabytes_allocates_nothing() {
    let turn = Alone::take().await;
    let mut target = Target::alone(least(), &turn);
    let honest = target.honest().await;
    for (name, claim) in claims() {
        let mut raw = target.greeted().await;
        let attack = async {
            // A server that refuses the claim closes the connection; one that waits for the rest
            // must end with the raw peer.
            let sent = raw.send(claim).await;
            raw.finish().await;
            drop(raw.rest().await);
            sent
        };
        let (_, held) = peak(honest.beside(attack)).await;
        println!("{:>9} bytes  {name}", held);
        assert!(held <= MAX_BYTES, "{name}: {held} bytes held");
    }
    honest.leave().await;
}

/// The first bytes of the largest messages. Each message counts in full, so the server takes only
/// as many as `max_opening_bytes` allows.
pub(crate) async fn totals(raw: &mut Raw) {
    let total = |id: u32| call(id, SAY, MORE).u32(64 * 1024).bytes("a");
    let last = 2 * (OPENING_BYTES / (64 * 1024)) as u32 + 1;
    for id in (1..=last).step_by(2) {
        raw.send(total(id)).await.unwrap();
    }
    let end = raw.ended(last).await;
    assert_eq!((end.code, end.refused), (Code::ResourceExhausted, true));
    assert!(end.text.ends_with("(max_opening_bytes)"), "{}", end.text);
}
