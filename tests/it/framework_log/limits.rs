//! The limits that calls meet: one line for each limit and minute.

use std::{future::IntoFuture, time::Duration};

use futures::StreamExt;
use tokio::time::sleep;
use wawo::{
    Config, ConfigBuilder, Metrics, Reconnect, Server,
    layer::{InFlightLayer, RequestBytesLayer},
};

use super::SECOND;
use crate::{
    logged::Log,
    support::{
        EchoClient, EchoServer, Message, Pair, Parrot, RepeatRequest, client_of, message, pair_with,
    },
};

const MINUTE: Duration = Duration::from_secs(60);

fn config(change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Config {
    change(Config::builder()).build().unwrap()
}

async fn pair_at_server(change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Pair {
    pair_with(Config::default(), config(change)).await
}

/// Checks that there is one line about this limit, on this side of the call.
fn assert_limit(log: &Log, limit: &str, side: &str, rest: &str) {
    let lines = log.of("wawo::limit");
    assert_eq!(lines.len(), 1, "{limit}: {log:?}");
    let begin = format!("WARN calls met a limit limit=\"{limit}\" side=\"{side}\" peer=\"peer ");
    assert!(lines[0].starts_with(&begin), "{lines:?}");
    assert!(lines[0].contains(rest), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_logged_when_it_is_first_met_in_a_minute_with_a_count() {
    let (log, _guard) = Log::begin();
    let pair = pair_at_server(|config| config.max_streams(0)).await;
    let echo = EchoClient::new(&pair.to_server);
    let refused = async || {
        drop(
            echo.join(futures::stream::pending::<Message>())
                .await
                .unwrap_err(),
        )
    };
    refused().await;
    let rest = "method=\"tests.echo.Echo/Join\" count=1 error=\"0 streams are open already (max_streams)\"";
    assert_limit(&log, "max_streams", "server", rest);
    for _ in 0..9 {
        refused().await;
    }
    assert_eq!(log.of("wawo::limit").len(), 1, "{log:?}");
    sleep(MINUTE + SECOND).await;
    let counts: Vec<_> = log.of("wawo::limit");
    assert_eq!(counts.len(), 2, "{log:?}");
    assert!(counts[1].contains("count=9"), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_handler_has_begun_has_no_method_in_the_line() {
    let (log, _guard) = Log::begin();
    let pair = pair_at_server(|config| config.max_streams(0)).await;
    let echo = EchoClient::new(&pair.to_server);
    let request = RepeatRequest {
        data: "x".into(),
        times: 1,
    };
    echo.repeat(request).await.unwrap_err();
    assert_limit(&log, "max_streams", "server", " count=1 ");
    assert!(!log.of("wawo::limit")[0].contains("method="), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_the_peer_is_logged_by_the_caller() {
    let (log, _guard) = Log::begin();
    let pair =
        pair_at_server(|config| config.max_message_bytes(wawo_protocol::MIN_MESSAGE_BYTES)).await;
    let echo = EchoClient::new(&pair.to_server);
    echo.say(message(vec![0; 100_000])).await.unwrap_err();
    assert_limit(
        &log,
        "max_message_bytes",
        "client",
        "the peer takes at most 65536",
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_stream_that_is_too_large_is_logged_where_it_is_sent() {
    let small = config(|config| config.max_message_bytes(wawo_protocol::MIN_MESSAGE_BYTES));
    let large = futures::stream::iter([message("x"), message(vec![0; 100_000])]);
    let (log, _guard) = Log::begin();
    let pair = pair_with(Config::default(), small).await;
    let echo = EchoClient::new(&pair.to_server);
    echo.join(large).await.unwrap_err();
    let text = "the peer takes at most 65536";
    assert_limit(&log, "max_message_bytes", "client", text);
}

#[tokio::test(start_paused = true)]
async fn limits_of_layers_and_of_call_depth_are_logged() {
    let echo = || EchoServer::new(Parrot::default());
    let services = [
        (
            "InFlightLayer",
            Server::builder().add_service(echo().layer(InFlightLayer::new(0))),
        ),
        (
            "RequestBytesLayer",
            Server::builder().add_service(echo().layer(RequestBytesLayer::new(0))),
        ),
    ];
    for (limit, builder) in services {
        let (log, _guard) = Log::begin();
        let metrics = Metrics::new();
        let mut server = builder.metrics(&metrics).build().unwrap();
        let peer = client_of(&mut server).await;
        EchoClient::new(&peer).say(message("x")).await.unwrap_err();
        let counted = format!("wawo_calls_refused_total{{side=\"server\",reason=\"{limit}\"}} 1\n");
        assert!(metrics.to_prometheus().contains(&counted), "{metrics:?}");
        assert_limit(
            &log,
            limit,
            "server",
            "method=\"tests.echo.Echo/Say\" count=1",
        );
    }
    let (log, _guard) = Log::begin();
    let pair = pair_with(config(|config| config.max_call_depth(0)), Config::default()).await;
    let echo = EchoClient::new(&pair.to_server);
    echo.act(message("call back")).await.unwrap_err();
    assert_limit(
        &log,
        "max_call_depth",
        "server",
        "method=\"tests.echo.Echo/Say\"",
    );
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_finds_no_room_is_logged_on_its_side() {
    let (log, _guard) = Log::begin();
    let client = config(|config| config.max_waiting_calls(2));
    let server = config(|config| config.max_calls(64));
    let pair = pair_with(client, server).await;
    let echo = EchoClient::new(&pair.to_server);
    let calls = (0..100).map(|_| echo.act(message("wait")).timeout(SECOND).into_future());
    let results = futures::future::join_all(calls).await;
    assert!(results.iter().all(Result::is_err));
    assert_limit(
        &log,
        "max_waiting_calls",
        "client",
        "waited for the connection to take it",
    );
}

#[tokio::test(start_paused = true)]
async fn calls_without_a_connection_are_limited_in_the_log_too() {
    let (log, _guard) = Log::begin();
    let settings = Reconnect::builder().wait_for_ready(true);
    let settings = settings.max_calls_without_connection(1).build().unwrap();
    let builder = wawo::Peer::builder("mem://framework-log-nobody").reconnect(settings);
    let peer = builder.connect_lazy().unwrap();
    let echo = EchoClient::new(&peer);
    let calls = (0..3).map(|_| echo.say(message("")).timeout(SECOND).into_future());
    let mut results = futures::stream::iter(calls).buffer_unordered(3);
    while let Some(result) = results.next().await {
        result.unwrap_err();
    }
    let lines = log.of("wawo::limit");
    assert_eq!(lines.len(), 1, "{log:?}");
    let begin = "WARN calls met a limit limit=\"max_calls_without_connection\" side=\"client\" \
                 peer=\"mem://framework-log-nobody\" count=1";
    assert!(lines[0].starts_with(begin), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_forwarded_is_no_limit_of_this_side() {
    let pair = pair_with(Config::default(), Config::default()).await;
    let (log, _guard) = Log::begin();
    // The handler calls back and forwards a status of the other side.
    EchoClient::new(&pair.to_server)
        .act(message("forward"))
        .await
        .unwrap_err();
    assert!(log.of("wawo::limit").is_empty(), "{log:?}");
}
