//! All undefined kinds, flags and codes.

use std::time::Duration;

use tokio::time::timeout;
use wawo::{CloseCode, Config};
use wawo_protocol::packet::Packet;

use crate::{
    target::Target,
    wire::{END_OF, Wire, packet, unary},
};

/// Attack 19: for any head, the server answers, ignores or refuses the packet, and continues. The
/// exact outcomes are in the table of cases.
#[tokio::test]
async fn no_kind_and_no_flag_is_too_much() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let kinds = (0..=12).chain([0x7f, 0x80, 0xff]);
    for kind in kinds {
        let attack = async {
            for flags in 0..=255 {
                let odd = packet(kind).flags(flags).call(1).u64(1).u64(1);
                ends_well(&mut target, odd).await;
                ends_well(&mut target, packet(kind).flags(flags)).await;
            }
        };
        honest.beside(attack).await;
    }
    honest.leave().await;
}

/// Sends a packet and nothing else; the connection must end with the raw peer's end at the latest.
async fn ends_well(target: &mut Target, odd: Wire) {
    let mut raw = target.greeted().await;
    let name = format!("{odd:?}");
    raw.send(odd).await.unwrap();
    raw.finish().await;
    let rest = timeout(Duration::from_secs(10), raw.rest()).await;
    let rest = rest.unwrap_or_else(|_| panic!("{name} hangs"));
    let internal = |packet: &Packet| matches!(packet, Packet::Close { code, .. } if *code == CloseCode::Internal);
    assert!(!rest.iter().any(internal), "{name}: {rest:?}");
}

/// Attack 19: a status code that version 1 does not define ends a call like any other.
#[tokio::test]
async fn every_code_ends_a_call() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let attack = async {
        for code in (0..20).chain([255, 256, 65_535]) {
            raw.send(unary(1, crate::wire::ACT, "back")).await.unwrap();
            let call = raw.next().await;
            let Some(Packet::Call(call)) = call else {
                panic!("{call:?}");
            };
            let id = call.call.expect("an id").to_wire();
            raw.send(packet(END_OF).call(id).code(code)).await.unwrap();
            raw.ended(1).await;
        }
    };
    honest.beside(attack).await;
    honest.leave().await;
}
