//! Every count at its maximum: no sum overflows, and calls still work.

use std::time::Duration;

use wawo::{Code, Config, ConfigBuilder, Peer, Server};
use wawo_protocol::MAX_LIMIT;

use crate::support::{
    EchoClient, EchoServer, Parrot, RepeatRequest, message, of_server, pair_with,
};

type Set = fn(ConfigBuilder) -> ConfigBuilder;

/// Each count by itself; a count that another one bounds, together with that one.
const COUNTS: [(&str, Set); 17] = [
    ("max_packet_bytes", |config| {
        config.max_packet_bytes(MAX_LIMIT)
    }),
    ("max_message_bytes", |config| {
        config
            .max_opening_bytes(usize::MAX)
            .max_message_bytes(MAX_LIMIT)
    }),
    ("max_metadata_bytes", |config| {
        config
            .max_opening_bytes(usize::MAX)
            .max_packet_bytes(MAX_LIMIT)
            .max_metadata_bytes(MAX_LIMIT - 64)
    }),
    ("max_metadata_entries", |config| {
        config.max_metadata_entries(u16::MAX.into())
    }),
    ("max_calls", |config| config.max_calls(MAX_LIMIT)),
    ("initial_credit_bytes", |config| {
        config.initial_credit_bytes(MAX_LIMIT)
    }),
    ("request_credit_bytes", |config| {
        config.request_credit_bytes(MAX_LIMIT)
    }),
    ("reply_credit_bytes", |config| {
        config.reply_credit_bytes(MAX_LIMIT)
    }),
    ("max_streams", |config| config.max_streams(usize::MAX)),
    ("max_opening_bytes", |config| {
        config.max_opening_bytes(usize::MAX)
    }),
    ("max_decoded_bytes", |config| {
        config
            .max_connection_decoded_bytes(usize::MAX)
            .max_decoded_bytes(usize::MAX)
    }),
    ("max_waiting_reply_bytes", |config| {
        config.max_waiting_reply_bytes(usize::MAX)
    }),
    ("max_cancels_per_second", |config| {
        config.max_cancels_per_second(u32::MAX)
    }),
    ("max_early_pings and max_idle_packets", |config| {
        config.max_early_pings(u32::MAX).max_idle_packets(u32::MAX)
    }),
    ("max_small_chunks", |config| {
        config.max_small_chunks(u32::MAX)
    }),
    ("max_call_depth", |config| config.max_call_depth(u32::MAX)),
    ("max_waiting_calls", |config| {
        config.max_waiting_calls(usize::MAX)
    }),
];

/// Makes calls of each shape in which replies wait for each other, and one that is cancelled.
async fn calls(echo: &EchoClient) {
    let large = || message("x".repeat(300_000));
    let (one, two) = tokio::join!(
        echo.say(large()),
        echo.say(large()).metadata("key", "value")
    );
    assert_eq!(one.unwrap().data.len() + two.unwrap().data.len(), 600_000);
    echo.note(message("a note")).await.unwrap();
    let again = RepeatRequest {
        data: "again".into(),
        times: 3,
    };
    let mut replies = echo.repeat(again).await.unwrap();
    for _ in 0..3 {
        assert_eq!(replies.message().await.unwrap().unwrap().data, "again");
    }
    let held = echo
        .act(message("hold"))
        .timeout(Duration::from_millis(1))
        .await;
    assert_eq!(held.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn calls_go_on_with_each_count_at_its_most_and_with_all_of_them() {
    let check = |name: &'static str, config: ConfigBuilder| async move {
        let config = config.build();
        let config = config.unwrap_or_else(|error| panic!("{name}: {error}"));

        let pair = pair_with(config.clone(), config).await;
        let calls = async {
            calls(&EchoClient::new(&pair.to_server)).await;
            calls(&EchoClient::new(&pair.to_client)).await;
        };
        let within = tokio::time::timeout(Duration::from_secs(60), calls).await;
        assert!(within.is_ok(), "{name}");
    };
    let mut all = Config::builder();
    for (name, set) in COUNTS {
        all = set(all);
        check(name, set(Config::builder())).await;
    }
    check("all", all).await;
}

#[tokio::test]
async fn calls_go_on_with_each_count_of_a_server_at_its_most() {
    let server = Server::builder()
        .config(of_server(|config| {
            config
                .max_connections(usize::MAX)
                .max_connections_per_host(Some(usize::MAX))
                .max_handshakes(usize::MAX)
                .max_server_decoded_bytes(Some(usize::MAX))
                .drain_grace(Duration::MAX)
        }))
        .add_service(EchoServer::new(Parrot::default()))
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let address = server.addresses()[0].to_string();
    let handle = server.handle();
    let run = tokio::spawn(server.run());
    let peer = Peer::connect(address).await.unwrap();
    calls(&EchoClient::new(&peer)).await;
    handle.drain(Duration::ZERO).await;
    run.await.unwrap().unwrap();
}
