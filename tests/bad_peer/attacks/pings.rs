//! Floods of pings and hellos.

use wawo::{CloseCode, Config};

use crate::{
    raw::Raw,
    target::Target,
    wire::{HELLO, hello_entry, packet, ping},
};

/// Sends pings as fast as possible, and reads no reply.
pub(crate) async fn flood(raw: &mut Raw) {
    raw.flood(ping(1), 10_000).await;
}

async fn few_pings_are_answered(mut target: Target) {
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let attack = async {
        // The first has no predecessor, and three may come too early.
        for data in 1..=4 {
            raw.send(ping(data)).await.unwrap();
            let pong = raw.next().await;
            assert_eq!(pong, Some(wawo_protocol::packet::Packet::Pong(data)));
        }
        raw.send(ping(5)).await.unwrap();
        raw.closed().await
    };
    let (code, why) = honest.beside(attack).await;
    assert_eq!(code, CloseCode::LimitExceeded);
    assert_eq!(
        why,
        "more than 3 pings in a row, each too soon after the one before (max_early_pings)"
    );
    honest.leave().await;
}

/// Attack 15.
#[tokio::test]
async fn a_fourth_early_ping_in_a_row_ends_the_connection_over_memory() {
    few_pings_are_answered(Target::memory(Config::default()).await).await;
}

/// Attack 15.
#[tokio::test]
async fn a_fourth_early_ping_in_a_row_ends_the_connection_over_tcp() {
    few_pings_are_answered(Target::tcp(Config::default()).await).await;
}

/// Attack 15: a ping in time resets the count, so a peer may ping each second forever.
#[tokio::test(start_paused = true)]
async fn pings_in_time_go_on() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    for _ in 0..60 {
        honest.beside(raw.goes_on()).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    honest.leave().await;
}

/// Attack 16: settings are sent once, in the hello. Invalid settings are in the table of cases.
#[tokio::test]
async fn a_flood_of_hellos_ends_with_the_second() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let hello = |calls: u32| packet(HELLO).bytes(hello_entry(5, &calls.to_be_bytes()));
    let mut raw = target.greeted().await;
    let attack = async {
        let all: Vec<u8> = (64..1_064).flat_map(|calls| hello(calls).build()).collect();
        // The server may close before the last of them.
        let _ = raw.send(all).await;
        raw.closed().await
    };
    let closed = honest.beside(attack).await;
    let why = "a second hello".to_owned();
    assert_eq!(closed, (CloseCode::ProtocolViolation, why));
    honest.leave().await;
}
