//! Messages of all sizes, large ones among small ones, over one connection.

use bytes::Bytes;
use futures::future::join_all;
use wawo::Peer;

use crate::support::{EchoClient, message, serve};

/// Bytes that differ by position and seed.
fn pattern(length: usize, seed: usize) -> Bytes {
    let bytes = (0..length).map(|index| (index / 256 + index + seed) as u8);
    bytes.collect::<Vec<_>>().into()
}

async fn all_sizes_come_back(address: &str) {
    let (server, address, _) = serve(address).await;
    let peer = Peer::builder(address).connect().await.unwrap();
    let echo = EchoClient::new(&peer);
    let around = |size: usize| [size - 40, size - 12, size, size + 1, size + 40];
    // Sizes around the threshold of direct reads, the largest packet, and the credit of a call.
    let sizes = [8 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20];
    for round in 0..3 {
        let sizes = sizes.iter().flat_map(|&size| around(size));
        let calls = sizes.chain([0, 1, 100, 4_000]).enumerate();
        let calls = calls.map(|(seed, size)| {
            let echo = echo.clone();
            async move {
                let sent = pattern(size, seed + round);
                let came = echo.say(message(sent.clone())).await.unwrap().data;
                assert!(came == sent, "{size} bytes, call {seed} of round {round}");
                came
            }
        });
        drop(join_all(calls).await);
    }
    // A message that is kept stays unchanged while others come.
    let kept = echo.say(message(pattern(600_000, 1))).await.unwrap().data;
    for seed in 2..6 {
        echo.say(message(pattern(600_000, seed))).await.unwrap();
    }
    assert!(kept == pattern(600_000, 1));
    server.stop().await;
}

#[tokio::test]
async fn messages_of_all_sizes_come_back_over_tcp() {
    all_sizes_come_back("tcp://127.0.0.1:0").await;
}

#[tokio::test]
async fn messages_of_all_sizes_come_back_over_memory() {
    all_sizes_come_back("mem://all_sizes").await;
}
