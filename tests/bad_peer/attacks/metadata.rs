//! Metadata at its limits: large, numerous, or colliding.

use std::time::Duration;

use cpu_time::ThreadTime;
use wawo::{CloseCode, Config};

use crate::{
    raw::Raw,
    target::Target,
    wire::{ACT, END, METADATA, SAY, Wire, call, message},
};

/// Makes calls that wait forever, each with the largest metadata, as many as the minimal request
/// credit allows: metadata costs credit.
pub(crate) async fn all_used(raw: &mut Raw) {
    for index in 0..8 {
        let mut call = call(2 * index + 1, ACT, END | METADATA).u16(64);
        // 2 bytes for the count, and 3 + 1 + 123 for each entry.
        for _ in 0..64 {
            call = call.entry("k", [b'v'; 123]);
        }
        let call = call.bytes(message("wait"));
        raw.send(call).await.unwrap();
    }
    raw.goes_on().await;
}

/// Attack 17: quotes of bad metadata are cut, so the answer stays small. The limits themselves are
/// in the table of cases.
#[tokio::test]
async fn quotes_of_bad_metadata_are_short() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    for key in ["\u{1}".repeat(255), "\u{85}".repeat(127), "K".repeat(255)] {
        let mut raw = target.greeted().await;
        let bad = call(1, SAY, END | METADATA).u16(1).entry(&key, "");
        let attack = async {
            raw.send(bad).await.unwrap();
            raw.closed().await
        };
        let (code, why) = honest.beside(attack).await;
        assert_eq!(code, CloseCode::ProtocolViolation);
        assert!(why.starts_with("metadata key "), "{why}");
        assert!(why.len() <= 1_024, "{} bytes", why.len());
    }
    honest.leave().await;
}

/// Keys whose 32-bit FNV-1a hashes end in the same 16 bits.
fn colliding(count: usize) -> Vec<String> {
    let hash = |key: &str| {
        key.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
    };
    let keys = (0..).map(|number| format!("k{number}"));
    let like = |key: &String| hash(key) & 0xffff == 0x1234;
    keys.filter(like).take(count).collect()
}

/// The CPU time of calls with these keys, in this thread, which runs all of them.
async fn cost(raw: &mut Raw, keys: &[String]) -> Duration {
    const CALLS: usize = 300;
    let with_keys = |call: Wire| keys.iter().fold(call, |call, key| call.entry(key, ""));
    let call = call(1, SAY, END | METADATA).u16(keys.len() as u16);
    let call = with_keys(call).bytes(message("hi")).build();
    let began = ThreadTime::now();
    for _ in 0..CALLS {
        raw.send(call.clone()).await.unwrap();
        raw.replied(1).await;
    }
    began.elapsed()
}

/// Attack 18: nothing that a peer chooses is hashed. Entries are a list, calls are found by index,
/// services by binary search.
#[tokio::test]
async fn a_hundred_thousand_colliding_keys_cost_no_more_than_others() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    raw.take_all_replies().await;
    let (alike, others) = (colliding(64), (0..64).map(|n| format!("key{n}")));
    let others: Vec<_> = others.collect();
    let mut least = [Duration::MAX; 2];
    // 115,200 keys of each sort; the minimum of several rounds is their cost without noise.
    for _ in 0..6 {
        for (least, keys) in least.iter_mut().zip([&alike, &others]) {
            let cost = honest.beside(cost(&mut raw, keys)).await;
            *least = cost.min(*least);
        }
    }
    println!(
        "{:?} for keys that collide, {:?} for others",
        least[0], least[1]
    );
    assert!(least[0] < 3 * least[1], "{least:?}");
    honest.leave().await;
}
