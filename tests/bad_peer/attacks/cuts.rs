//! Sessions that are cut off at every byte.

use wawo::{Code, Config, Delivery, Peer};
use wawo_protocol::packet::{PREFACE, Packet};

use crate::{
    raw::Raw,
    service::{EchoClient, message as text},
    target::Target,
    wire::{
        ACT, CONTINUES, CREDIT, END, END_OF, HELLO, JOIN, MESSAGE, METADATA, MORE, ONE_WAY, REPLY,
        SAY, TALK, TIMEOUT, call, cancel, hello_entry, message, next, note, packet, ping, repeat,
        stream, unary, unary_with,
    },
};

/// The bytes of a peer after its hello, in many variants.
fn sessions() -> Vec<Vec<u8>> {
    let last = |id: u32| packet(MESSAGE).call(id).flags(END).bytes(message("z"));
    let chunked = call(1, SAY, MORE).u32(4).bytes(&message("hi")[..2]);
    let rest = packet(MESSAGE).call(1).flags(CONTINUES | END);
    let rest = rest.bytes(&message("hi")[2..]);
    let one_way = call(1, crate::wire::NOTE, MORE | ONE_WAY).u32(4);
    let one_way = one_way.bytes(&message("hi")[..2]);
    let timed = call(1, ACT, END | TIMEOUT | METADATA).u32(60_000).u16(1);
    let timed = timed.entry("key-bin", [0, 255]).bytes(message("wait"));
    let steps: [Vec<Vec<u8>>; 10] = [
        vec![unary(1, SAY, "hi").build(), unary(1, SAY, "again").build()],
        vec![unary(1, ACT, "wait").build(), cancel(1).build()],
        vec![
            stream(1, TALK).build(),
            next(1, message("a")).build(),
            last(1).build(),
        ],
        vec![stream(1, JOIN).build(), packet(END_OF).call(1).build()],
        vec![chunked.build(), rest.build()],
        vec![one_way.build(), rest.build(), note("hi").build()],
        vec![timed.build(), ping(1).build()],
        vec![repeat(1, 10, 3).build(), packet(CREDIT).u32(4096).build()],
        vec![unary_with(1, ACT, "back", ("key", "value")).build()],
        vec![unary(1, ACT, "wait").build(), unary(3, ACT, "wait").build()],
    ];
    let hellos = [
        packet(HELLO),
        packet(HELLO).bytes(hello_entry(9, b"cut")),
        packet(HELLO).bytes(hello_entry(8, &5_000_u32.to_be_bytes())),
        packet(HELLO).bytes(hello_entry(6, &100_000_u32.to_be_bytes())),
        packet(HELLO).bytes(hello_entry(99, b"unknown")),
    ];
    let begin = |hello: &crate::wire::Wire| [PREFACE.to_vec(), hello.build()].concat();
    let with = |hello| {
        steps
            .iter()
            .map(move |steps| [begin(hello), steps.concat()].concat())
    };
    hellos.iter().flat_map(with).collect()
}

/// Attack 20: all prefixes of fifty sessions; fewer in debug builds, which are slow.
#[tokio::test]
async fn a_session_cut_anywhere_leaves_no_call_behind() {
    let sessions = sessions();
    assert_eq!(sessions.len(), 50);
    let step = if cfg!(debug_assertions) { 3 } else { 1 };
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    for session in sessions.iter().step_by(step) {
        let attack = async {
            for end in 0..session.len() {
                let mut raw = target.raw().await;
                raw.send(&session[..end]).await.unwrap();
                raw.finish().await;
                let said = raw.rest().await;
                let closed = |packet: &Packet| matches!(packet, Packet::Close { .. });
                assert!(!said.iter().any(closed), "{end} of {session:?}: {said:?}");
            }
        };
        honest.beside(attack).await;
    }
    target.seen.until_live(0).await;
    assert_eq!(target.handle.peers().len(), 1, "the honest one");
    honest.leave().await;
}

/// The bytes of a server that answers one unary call, with a reply and an end, in chunks.
fn answer() -> Vec<u8> {
    let first = packet(REPLY).call(1).flags(MORE).u32(4);
    let last = packet(MESSAGE).call(1).flags(CONTINUES | END);
    let whole = message("hi");
    [
        first.bytes(&whole[..2]).build(),
        last.bytes(&whole[2..]).build(),
    ]
    .concat()
}

/// Attack 20, against a caller: it notices that a reply is incomplete, and that its call may have
/// been served.
#[tokio::test]
async fn a_reply_cut_anywhere_is_no_reply() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let answer = answer();
    for end in 0..=answer.len() {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let mut raw = Raw::over_memory(there);
        let (peer, ()) = tokio::join!(Peer::builder("").connect_over(here), raw.greet());
        let peer = peer.unwrap();
        let echo = EchoClient::new(&peer);
        let attack = async {
            let served = async {
                let call = raw.next().await;
                assert!(matches!(call, Some(Packet::Call(_))), "{call:?}");
                raw.send(&answer[..end]).await.unwrap();
                raw.finish().await;
            };
            tokio::join!(echo.say(text("hi")), served).0
        };
        match honest.beside(attack).await {
            Ok(reply) => assert_eq!((end, &reply.data[..]), (answer.len(), &b"hi"[..])),
            Err(status) => {
                assert!(end < answer.len(), "{status}");
                assert_eq!(status.code(), Code::Unavailable);
                assert_eq!(status.delivery(), Delivery::Unknown);
            }
        }
    }
    honest.leave().await;
}
