//! Single flipped bits.

use std::time::Duration;

use tokio::time::timeout;
use wawo::{Config, Peer};
use wawo_protocol::packet::{PREFACE, Packet};

use crate::{
    raw::Raw,
    service::{EchoClient, message as text},
    target::Target,
    wire::{
        END, HELLO, MESSAGE, REPLY, SAY, TALK, hello_entry, message, packet, ping, stream, unary,
    },
};

/// Longer than any reply takes; only a test that hangs waits for it.
const HANGS: Duration = Duration::from_secs(10);

/// A small session with most packets that a caller sends.
fn session() -> Vec<u8> {
    let hello = packet(HELLO).bytes(hello_entry(5, &100_u32.to_be_bytes()));
    let last = packet(MESSAGE).call(3).flags(END).bytes(message("b"));
    [
        PREFACE.to_vec(),
        hello.build(),
        unary(1, SAY, "a").build(),
        stream(3, TALK).build(),
        last.build(),
        ping(1).build(),
    ]
    .concat()
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// Attack 21: each flipped bit is an error or harmless, nothing hangs, and no other connection is
/// affected.
#[tokio::test]
async fn no_flipped_bit_of_a_session_hangs_or_hurts_anybody_else() {
    let session = session();
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    for byte in 0..session.len() {
        let attack = async {
            for bit in 8 * byte..8 * byte + 8 {
                let mut raw = target.raw().await;
                raw.send(flipped(&session, bit)).await.unwrap();
                raw.finish().await;
                let rest = timeout(HANGS, raw.rest()).await;
                assert!(rest.is_ok(), "bit {bit} hangs");
            }
        };
        honest.beside(attack).await;
    }
    target.seen.until_live(0).await;
    honest.leave().await;
}

/// Attack 21, against a caller: a call over the connection ends with a reply or a status, and only
/// the bits of the message can be wrong in a reply.
#[tokio::test]
async fn no_flipped_bit_of_an_answer_leaves_its_call_open() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let answer = packet(REPLY).call(1).flags(END).bytes(message("a"));
    let answer = answer.build();
    for bit in 0..8 * answer.len() {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let mut raw = Raw::over_memory(there);
        let (peer, ()) = tokio::join!(Peer::builder("").connect_over(here), raw.greet());
        let echo = EchoClient::new(&peer.unwrap());
        let served = async {
            let call = raw.next().await;
            assert!(matches!(call, Some(Packet::Call(_))), "{call:?}");
            raw.send(flipped(&answer, bit)).await.unwrap();
            raw.finish().await;
        };
        let call = timeout(HANGS, echo.say(text("a")));
        let (ended, ()) = honest.beside(async { tokio::join!(call, served) }).await;
        let result = ended.unwrap_or_else(|_| panic!("bit {bit} hangs"));
        let in_message = bit >= 8 * 12;
        assert!(result.is_err() || in_message, "bit {bit}: {result:?}");
    }
    honest.leave().await;
}
