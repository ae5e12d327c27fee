//! The figures and the text of [`Metrics`], of real calls. Who counts which end is in `observe.rs`.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt as _, stream};
use opentelemetry_semantic_conventions::{attribute, metric};
use tokio::runtime;
use wawo::{
    Code, Metrics, Peer, RawClient, Server, ServiceDescriptor, ServiceId, Shape, observe::CallSide,
};

use crate::support::{EchoClient, EchoServer, Parrot, RepeatRequest, Running, message};

/// The samples of a text: their names with labels, and their values.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| line.rsplit_once(' ').unwrap());
    samples
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

/// A value of the text of metrics; zero if it is not there.
fn value(metrics: &Metrics, sample: &str) -> f64 {
    let text = metrics.to_prometheus();
    samples(&text).get(sample).copied().unwrap_or_default()
}

/// Waits until a sample has this value.
async fn until(metrics: &Metrics, sample: &str, expected: f64) {
    let has_it = async {
        while value(metrics, sample) != expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), has_it).await;
    assert!(
        in_time.is_ok(),
        "{sample} {expected}:\n{}",
        metrics.to_prometheus()
    );
}

/// A server and a peer, with metrics on both sides.
struct Counted {
    server: Metrics,
    client: Metrics,
    running: Running,
    peer: Peer,
}

async fn counted(address: &str) -> Counted {
    let (server, client) = (Metrics::new(), Metrics::new());
    let listening = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let listening = listening.metrics(&server).bind(address).await.unwrap();
    let address = listening.addresses()[0].to_string();
    let running = Running::spawn(listening);
    let peer = Peer::builder(&*address).metrics(&client).connect().await;
    Counted {
        server,
        client,
        running,
        peer: peer.unwrap(),
    }
}

#[tokio::test]
async fn the_text_has_the_figures_of_calls_over_each_transport() {
    for transport in ["mem", "tcp"] {
        let address = match transport {
            "tcp" => "tcp://127.0.0.1:0",
            _ => "mem://metrics-of-calls",
        };
        let counted = counted(address).await;
        let stub = EchoClient::new(&counted.peer);
        for _ in 0..3 {
            stub.say(message("four")).await.unwrap();
        }
        assert!(stub.act(message("fail")).await.is_err());
        assert!(stub.act(message("panic")).await.is_err());
        let repeat = RepeatRequest {
            data: "hi".into(),
            times: 5,
        };
        let mut replies = stub.repeat(repeat).await.unwrap();
        assert_eq!(
            value(
                &counted.client,
                "wawo_calls_in_flight{side=\"client\",rpc_method=\"tests.echo.Echo/Repeat\"}"
            ),
            1.0
        );
        while replies.message().await.unwrap().is_some() {}
        drop(replies);
        figures_of_calls(&counted);
        figures_of_connections(counted, transport).await;
    }
}

fn figures_of_calls(counted: &Counted) {
    let (server, client) = (
        counted.server.to_prometheus(),
        counted.client.to_prometheus(),
    );
    for (side, text, sent) in [("server", &server, "received"), ("client", &client, "sent")] {
        let samples = samples(text);
        let of = |name: &str, labels: &str| samples.get(&*format!("{name}{{{labels}}}")).copied();
        let count = |method: &str, labels: &str| {
            let method =
                format!("rpc_system_name=\"wawo\",rpc_method=\"tests.echo.Echo/{method}\"");
            let name = format!("rpc_{side}_call_duration_seconds_count");
            of(
                &name,
                &format!("{method},rpc_response_status_code={labels}"),
            )
        };
        assert_eq!(count("Say", "\"OK\""), Some(3.0), "{text}");
        let failure = match side {
            "client" => "\"FAILED_PRECONDITION\",error_type=\"FAILED_PRECONDITION\"",
            // The fault is not that of the server.
            _ => "\"FAILED_PRECONDITION\"",
        };
        assert_eq!(count("Act", failure), Some(1.0), "{text}");
        assert_eq!(
            count("Act", "\"INTERNAL\",error_type=\"INTERNAL\""),
            Some(1.0),
            "{text}"
        );
        assert_eq!(count("Repeat", "\"OK\""), Some(1.0), "{text}");
        let labels =
            |method: &str| format!("side=\"{side}\",rpc_method=\"tests.echo.Echo/{method}\"");
        assert_eq!(of("wawo_calls_started_total", &labels("Act")), Some(2.0));
        assert_eq!(of("wawo_calls_in_flight", &labels("Repeat")), Some(0.0));
        let sent = format!("{},direction=\"{sent}\"", labels("Say"));
        assert_eq!(of("wawo_messages_total", &sent), Some(3.0));
        // A field of four bytes takes six.
        assert_eq!(of("wawo_message_bytes_total", &sent), Some(18.0));
    }
    let panics = "wawo_handler_panics_total{rpc_method=\"tests.echo.Echo/Act\"}";
    assert_eq!(value(&counted.server, panics), 1.0);
    let attempts = "wawo_call_attempts_total{rpc_method=\"tests.echo.Echo/Say\",kind=\"first\"}";
    assert_eq!(value(&counted.client, attempts), 3.0);
    assert_eq!(value(&counted.server, attempts), 0.0);
}

async fn figures_of_connections(counted: Counted, transport: &str) {
    let Counted {
        server,
        client,
        running,
        peer,
    } = counted;
    let both = [("server", &server), ("client", &client)];
    for (side, metrics) in both {
        let open = format!("wawo_connections{{side=\"{side}\",transport=\"{transport}\"}}");
        assert_eq!(value(metrics, &open), 1.0, "{}", metrics.to_prometheus());
        assert_eq!(
            value(metrics, &format!("wawo_peers{{side=\"{side}\"}}")),
            1.0
        );
        for direction in ["sent", "received"] {
            let io = format!(
                "wawo_io_bytes_total{{direction=\"{direction}\",transport=\"{transport}\"}}"
            );
            assert!(value(metrics, &io) > 100.0, "{}", metrics.to_prometheus());
        }
    }
    // A handle of the program, as `peer` is here, does not keep a closed peer in the figures.
    peer.close("as asked");
    for (side, metrics) in both {
        let open = format!("wawo_connections{{side=\"{side}\",transport=\"{transport}\"}}");
        until(metrics, &open, 0.0).await;
        until(metrics, &format!("wawo_peers{{side=\"{side}\"}}"), 0.0).await;
        let snapshot = metrics.snapshot();
        let ended: Vec<_> = snapshot.connections[0]
            .ended
            .iter()
            .map(|(_, count)| *count)
            .collect();
        assert_eq!(ended, [1]);
        assert_eq!((snapshot.output_bytes, snapshot.waiting_calls), (0, 0));
    }
    running.stop().await;
}

#[tokio::test]
async fn unknown_methods_share_one_series_however_many_there_are() {
    const METHODS: u32 = 100_000;
    let counted = counted("mem://metrics-of-unknown").await;
    let stub = EchoClient::new(&counted.peer);
    stub.say(message("known")).await.unwrap();
    let before = counted.server.to_prometheus().lines().count();
    let raw = RawClient::new(&counted.peer);
    let call = |number: u32| {
        let service = ServiceDescriptor::builder("a.B").id(ServiceId(number + 1));
        let service = service.method(wawo::MethodDescriptor::builder("C", Shape::Unary));
        let service = service.build().unwrap();
        let method = service.methods().next().unwrap().clone();
        raw.call(&method, Vec::new())
    };
    let calls = stream::iter(0..METHODS).map(|number| call(number).into_future());
    let mut calls = calls.buffer_unordered(100);
    while let Some(result) = calls.next().await {
        assert_eq!(result.unwrap_err().code(), Code::Unimplemented);
    }
    let snapshot = counted.server.snapshot();
    let unknown: Vec<_> = snapshot
        .methods
        .iter()
        .filter(|it| it.method.is_none())
        .collect();
    assert_eq!(unknown.len(), 1);
    assert_eq!(
        (unknown[0].side, unknown[0].protocol),
        (CallSide::Server, "wawo")
    );
    assert_eq!(
        (unknown[0].started, unknown[0].in_flight),
        (u64::from(METHODS), 0)
    );
    assert_eq!(snapshot.methods.len(), 2);
    // The histogram of a code, and what one method has.
    let after = counted.server.to_prometheus().lines().count();
    assert!(after - before < 40, "{}", counted.server.to_prometheus());
}

#[test]
fn nothing_is_in_flight_when_a_runtime_has_ended() {
    let mut runtime = runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let (server, client) = runtime.block_on(async {
        let counted = counted("mem://metrics-of-an-end").await;
        let stub = EchoClient::new(&counted.peer);
        for _ in 0..10 {
            tokio::spawn(stub.act(message("wait")));
        }
        let in_flight = "wawo_calls_in_flight{side=\"server\",rpc_method=\"tests.echo.Echo/Act\"}";
        until(&counted.server, in_flight, 10.0).await;
        let metrics = (counted.server.clone(), counted.client.clone());
        std::mem::forget(counted.running);
        metrics
    });
    drop(runtime);
    for metrics in [server, client] {
        let snapshot = metrics.snapshot();
        assert_eq!(
            (snapshot.methods[0].started, snapshot.methods[0].in_flight),
            (10, 0)
        );
        assert_eq!(snapshot.connections[0].open, 0);
        assert_eq!(
            (snapshot.connecting_peers, snapshot.accepting_peers),
            (0, 0)
        );
    }
}

/// A name of the conventions in the form of Prometheus.
fn of_prometheus(name: &str) -> String {
    name.replace('.', "_")
}

#[tokio::test]
async fn the_names_are_those_of_the_conventions() {
    let counted = counted("mem://metrics-of-names").await;
    let stub = EchoClient::new(&counted.peer);
    assert!(stub.act(message("panic")).await.is_err());
    let labels = [
        (attribute::RPC_SYSTEM_NAME, "wawo"),
        (attribute::RPC_METHOD, "tests.echo.Echo/Act"),
        (attribute::RPC_RESPONSE_STATUS_CODE, "INTERNAL"),
        (attribute::ERROR_TYPE, "INTERNAL"),
    ];
    let labels = labels.map(|(name, value)| format!("{}=\"{value}\"", of_prometheus(name)));
    let labels = labels.join(",");
    let sides = [
        (metric::RPC_SERVER_CALL_DURATION, &counted.server),
        (metric::RPC_CLIENT_CALL_DURATION, &counted.client),
    ];
    for (name, metrics) in sides {
        // The unit of the convention is `s`, for which Prometheus writes the word.
        let name = of_prometheus(name) + "_seconds";
        assert_eq!(value(metrics, &format!("{name}_count{{{labels}}}")), 1.0);
        let text = metrics.to_openmetrics();
        assert!(
            text.contains(&format!("# TYPE {name} histogram\n# UNIT {name} seconds\n")),
            "{text}"
        );
    }
}
