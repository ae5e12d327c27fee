//! Tests of the whole: what hooks report is what readers see.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use wawo_protocol::{Code, Side};

use crate::{
    call_side::CallSide,
    descriptor::{MethodDescriptor, ServiceDescriptor, Shape},
    metrics::{CallFigures, Gauge, Metrics, MetricsSnapshot},
};

/// A method of a service `a.B`.
fn method(name: &str) -> MethodDescriptor {
    let service = ServiceDescriptor::builder("a.B");
    let service = service.method(MethodDescriptor::builder(name, Shape::Unary));
    service.build().unwrap().methods().next().unwrap().clone()
}

fn figures(code: Code, took: Duration) -> CallFigures {
    CallFigures {
        code,
        took,
        request_messages: 1,
        request_bytes: 10,
        reply_messages: 2,
        reply_bytes: 30,
    }
}

/// The calls that have ended with a code.
fn ended(snapshot: &MetricsSnapshot) -> u64 {
    let methods = snapshot.methods.iter();
    let outcomes = methods.flat_map(|method| &method.outcomes);
    outcomes.map(|outcome| outcome.durations.count()).sum()
}

#[test]
fn no_call_is_lost_or_counted_twice_while_threads_come_and_go() {
    const THREADS: u64 = 8;
    const CALLS: u64 = 5_000;
    let metrics = Metrics::new();
    let series = metrics.series(CallSide::Server, "wawo", Some(&method("C")));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = 0;
            while !is_over.load(Relaxed) {
                let count = ended(&metrics.snapshot());
                assert!(
                    last <= count && count <= 2 * THREADS * CALLS,
                    "{last} {count}"
                );
                last = count;
            }
        });
        let write = || {
            for _ in 0..CALLS {
                metrics.whole_call(series, &figures(Code::Ok, Duration::from_millis(1)));
            }
        };
        // The second half of the threads begins when the first one has ended.
        for _ in 0..2 {
            let writers: Vec<_> = (0..THREADS).map(|_| scope.spawn(write)).collect();
            writers
                .into_iter()
                .for_each(|writer| writer.join().unwrap());
        }
        is_over.store(true, Relaxed);
        reader.join().unwrap();
    });
    let snapshot = metrics.snapshot();
    let calls = 2 * THREADS * CALLS;
    assert_eq!(ended(&snapshot), calls);
    let method = &snapshot.methods[0];
    assert_eq!((method.started, method.in_flight), (calls, 0));
    assert_eq!(
        (method.requests.messages, method.requests.bytes),
        (calls, 10 * calls)
    );
    assert_eq!(
        (method.replies.messages, method.replies.bytes),
        (2 * calls, 30 * calls)
    );
    let durations = &method.outcomes[0].durations;
    assert_eq!(durations.sum(), Duration::from_millis(calls));
}

#[test]
fn a_call_may_begin_in_one_thread_and_end_in_another() {
    let metrics = Metrics::new();
    let series = metrics.series(CallSide::Client, "wawo", Some(&method("C")));
    let (begun, read) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            metrics.call_began(series);
            metrics.change_gauge(Gauge::OutputBytes, 7);
            begun.wait();
            read.wait();
        });
        begun.wait();
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.methods[0].in_flight, 1);
        assert_eq!(snapshot.output_bytes, 7);
        metrics.call_ended(series, &figures(Code::Ok, Duration::ZERO));
        metrics.change_gauge(Gauge::OutputBytes, -7);
        read.wait();
    });
    let snapshot = metrics.snapshot();
    assert_eq!(snapshot.methods[0].in_flight, 0);
    assert_eq!(snapshot.methods[0].started, 1);
    assert_eq!(snapshot.output_bytes, 0);
}

#[test]
fn a_thread_counts_for_several_metrics() {
    let all = [Metrics::new(), Metrics::new(), Metrics::new()];
    let end = figures(Code::Ok, Duration::ZERO);
    for round in 0..3 {
        for (index, metrics) in all.iter().enumerate() {
            let series = metrics.series(CallSide::Server, "wawo", None);
            (0..=index).for_each(|_| metrics.whole_call(series, &end));
            assert_eq!(ended(&metrics.snapshot()), (round + 1) * (index as u64 + 1));
        }
    }
}

/// Counts a call when it is dropped.
struct Late(Metrics);

impl Drop for Late {
    fn drop(&mut self) {
        let series = self.0.series(CallSide::Client, "wawo", None);
        self.0
            .whole_call(series, &figures(Code::Cancelled, Duration::ZERO));
    }
}

#[test]
fn a_call_that_ends_with_its_thread_is_counted() {
    thread_local! {
        static FIRST: RefCell<Option<Late>> = const { RefCell::new(None) };
        static LAST: RefCell<Option<Late>> = const { RefCell::new(None) };
    }
    let metrics = Metrics::new();
    let of_thread = metrics.clone();
    // One of them is dropped behind the shard of the thread, and one before it.
    let thread = thread::spawn(move || {
        FIRST.set(Some(Late(of_thread.clone())));
        drop(Late(of_thread.clone()));
        LAST.set(Some(Late(of_thread)));
    });
    thread.join().unwrap();
    assert_eq!(ended(&metrics.snapshot()), 3);
}

#[test]
fn all_figures_are_in_the_snapshot() {
    let metrics = Metrics::new();
    let series = metrics.series(CallSide::Client, "wawo", Some(&method("C")));
    for millis in 1..=100 {
        metrics.whole_call(series, &figures(Code::Ok, Duration::from_millis(millis)));
    }
    metrics.whole_call(series, &figures(Code::Unavailable, Duration::MAX));
    metrics.call_retried(series, 2);
    metrics.handler_panicked(series);
    let snapshot = metrics.snapshot();
    let [method] = &snapshot.methods[..] else {
        panic!("{snapshot:?}");
    };
    assert_eq!((method.side, method.protocol), (CallSide::Client, "wawo"));
    assert_eq!(method.method.as_deref(), Some("a.B/C"));
    assert_eq!((method.retries, method.panics), (2, 1));
    let codes: Vec<_> = method.outcomes.iter().map(|outcome| outcome.code).collect();
    assert_eq!(codes, [Code::Ok, Code::Unavailable]);
    let durations = &method.outcomes[0].durations;
    assert_eq!(durations.sum(), Duration::from_millis(5050));
    for (percent, millis) in [(0.0, 1.0), (50.0, 50.0), (99.0, 99.0), (100.0, 100.0)] {
        let time = durations.percentile(percent).unwrap().as_secs_f64() * 1e3;
        assert!(
            (time / millis - 1.0).abs() <= 1.0 / 16.0,
            "{percent}: {time}"
        );
    }
    let mut all = durations.clone();
    all.merge(&method.outcomes[1].durations);
    assert_eq!(all.count(), 101);
    assert!(all.percentile(100.0).unwrap() > Duration::from_secs(1000));
}

/// Metrics with one figure of each kind.
fn example() -> Metrics {
    let metrics = Metrics::new();
    let server = metrics.series(CallSide::Server, "wawo", Some(&method("C")));
    metrics.whole_call(server, &figures(Code::Ok, Duration::from_millis(1)));
    metrics.whole_call(server, &figures(Code::Ok, Duration::from_micros(1_001)));
    metrics.whole_call(server, &figures(Code::NotFound, Duration::from_secs(60)));
    let grpc = metrics.series(CallSide::Server, "grpc", Some(&method("C")));
    metrics.whole_call(grpc, &figures(Code::Internal, Duration::ZERO));
    metrics.handler_panicked(grpc);
    let unknown = metrics.series(CallSide::Server, "wawo", None);
    metrics.whole_call(unknown, &figures(Code::Unimplemented, Duration::ZERO));
    let client = metrics.series(CallSide::Client, "wawo", Some(&method("D")));
    metrics.call_began(client);
    metrics.call_retried(client, 1);
    metrics.call_refused(CallSide::Server, "max_calls");
    for side in [Side::Connecting, Side::Accepting] {
        metrics.connection_opened(side, "tcp");
        metrics.peer_opened(side);
    }
    metrics.connection_ended(Side::Accepting, "tcp", "normal");
    metrics.peer_ended(Side::Accepting);
    metrics.read_bytes("tcp", 5);
    metrics.written_bytes("mem", 6);
    metrics.change_gauge(Gauge::OutputBytes, 1);
    metrics.change_gauge(Gauge::OutboxBytes, 2);
    metrics.change_gauge(Gauge::WaitingCalls, 3);
    metrics.change_gauge(Gauge::BlockedConnections, 4);
    metrics.log_dropped(9);
    metrics
}

/// Compares by lines, so that a failure shows the first that differs.
fn assert_same(text: &str, expected: &str) {
    for (line, expected) in text.lines().zip(expected.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(text, expected);
}

#[test]
fn the_texts_are_as_the_files_beside_this_one_show() {
    let metrics = example();
    assert_same(
        &metrics.to_prometheus(),
        include_str!("tests/prometheus.txt"),
    );
    assert_same(
        &metrics.to_openmetrics(),
        include_str!("tests/openmetrics.txt"),
    );
}

#[test]
fn an_empty_text_has_the_figures_without_labels() {
    let metrics = Metrics::new();
    let text = metrics.to_prometheus();
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let expected = [
        "wawo_peers{side=\"client\"} 0",
        "wawo_peers{side=\"server\"} 0",
        "wawo_output_bytes 0",
        "wawo_outbox_bytes 0",
        "wawo_waiting_calls 0",
        "wawo_blocked_connections 0",
        "wawo_log_dropped_total 0",
    ];
    assert_eq!(samples, expected);
    assert!(
        metrics
            .to_openmetrics()
            .ends_with("wawo_log_dropped_total 0\n# EOF\n")
    );
}

#[test]
fn label_values_are_escaped() {
    let metrics = Metrics::new();
    metrics.call_refused(CallSide::Client, "a \"b\" \\ c\nd é");
    let text = metrics.to_prometheus();
    assert!(
        text.contains(r#"{side="client",reason="a \"b\" \\ c\nd é"} 1"#),
        "{text}"
    );
}

/// The rules of OpenMetrics that Prometheus' own format does not have.
#[test]
fn the_text_follows_the_rules_of_openmetrics() {
    let text = example().to_openmetrics();
    assert!(text.ends_with("\n# EOF\n"));
    assert_eq!(text.matches("# EOF").count(), 1);
    let mut families = BTreeMap::new();
    let mut family = ("", "");
    for line in text.lines().filter(|line| *line != "# EOF") {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["#", "TYPE", name, kind] => {
                assert_eq!(
                    families.insert(name, kind),
                    None,
                    "{name} stands there twice"
                );
                assert!(!name.ends_with("_total"), "{name}");
                family = (name, kind);
            }
            ["#", "UNIT", name, unit] => assert!(name.ends_with(&format!("_{unit}")), "{line}"),
            ["#", "HELP", ..] => {}
            [sample, value] => {
                let name = sample.split('{').next().unwrap();
                let suffix = name
                    .strip_prefix(family.0)
                    .unwrap_or_else(|| panic!("{line}"));
                let allowed: &[_] = match family.1 {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    _ => &["_bucket", "_count", "_sum"],
                };
                assert!(allowed.contains(&suffix), "{line}");
                assert!(
                    value.parse::<f64>().is_ok_and(|value| value >= 0.0),
                    "{line}"
                );
            }
            _ => panic!("{line}"),
        }
    }
    // Bounds are floats with a point.
    assert!(text.contains("le=\"1.0\"") && !text.contains("le=\"1\""));
}
