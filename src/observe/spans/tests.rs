//! Fields of spans, from calls that are made here by hand.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant},
};

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use wawo_protocol::{Code, Metadata as CallMetadata, MethodId, ServiceId};

use super::Spans;
use crate::{
    descriptor::{MethodDescriptor, MethodIds, ServiceDescriptor, Shape},
    observe::{CallSide, CallSummary, Observe, ObservedCall, TraceContext},
    transport::Address,
};

/// Collects the fields of the last span.
#[derive(Debug, Default, Clone)]
struct Collector(Arc<Mutex<BTreeMap<&'static str, String>>>);

/// With a second subscriber, `tracing` asks the subscriber of each thread whether it is interested.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Collector::default()));

impl Collector {
    /// Runs a function with this as the subscriber, and takes the fields of the span that it has made.
    fn fields_of(test: impl FnOnce()) -> BTreeMap<&'static str, String> {
        LazyLock::force(&SECOND);
        let collector = Self::default();
        tracing::subscriber::with_default(collector.clone(), test);
        std::mem::take(&mut collector.0.lock().unwrap())
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "wawo::call" && *metadata.level() == tracing::Level::DEBUG
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut self.clone());
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Visit for Collector {
    fn record_str(&mut self, field: &Field, value: &str) {
        let old = self.0.lock().unwrap().insert(field.name(), value.into());
        assert_eq!(old, None, "{field} is recorded twice");
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// A call, and what it refers to.
struct Example {
    side: CallSide,
    is_known: bool,
    address: &'static str,
    metadata: CallMetadata,
}

impl Example {
    fn of(side: CallSide, address: &'static str) -> Self {
        Self {
            side,
            is_known: true,
            address,
            metadata: CallMetadata::new(),
        }
    }

    fn call<R>(
        &self,
        span: Option<&tracing::Span>,
        test: impl FnOnce(&ObservedCall<'_>) -> R,
    ) -> R {
        let (service_id, method_id) = (ServiceId(7), MethodId(3));
        let method = MethodDescriptor::builder("Join", Shape::Unary).id(method_id);
        let service = ServiceDescriptor::builder("chat.v1.Chat").id(service_id);
        let service = service.method(method).build().unwrap();
        let address: Address = self.address.parse().unwrap();
        test(&ObservedCall {
            side: self.side,
            ids: MethodIds {
                service: service_id,
                method: method_id,
            },
            descriptor: service.method(method_id).filter(|_| self.is_known),
            protocol: "wawo",
            peer: None,
            address: Some(&address),
            identity: None,
            metadata: &self.metadata,
            started: Instant::now(),
            deadline: None,
            call_depth: 2,
            trace: TraceContext::of(&self.metadata).as_ref(),
            span,
        })
    }

    /// The fields of the span of the call, which ends with this code.
    fn fields(&self, code: Code) -> BTreeMap<&'static str, String> {
        Collector::fields_of(|| {
            let span = self.call(None, |call| Spans.began(call).unwrap());
            self.call(Some(&span), |call| Spans.ended(call, &summary(code)));
        })
    }
}

fn summary(code: Code) -> CallSummary<'static> {
    CallSummary {
        code,
        text: if code == Code::Ok { "" } else { "as asked" },
        delivery: None,
        queued: Duration::ZERO,
        first_reply: None,
        took: Duration::from_millis(1),
        request_messages: 1,
        request_bytes: 2,
        reply_messages: 1,
        reply_bytes: 2,
        attempts: 1,
    }
}

/// The fields with these names; those that are not there are left out.
fn pick(fields: &BTreeMap<&'static str, String>, names: &[&str]) -> Vec<String> {
    let found = names.iter().filter_map(|name| fields.get(name));
    found.cloned().collect()
}

const CALL: [&str; 6] = [
    "otel.name",
    "otel.kind",
    "rpc.system.name",
    "rpc.method",
    "rpc.method_original",
    "wawo.depth",
];

const ADDRESSES: [&str; 4] = [
    "server.address",
    "server.port",
    "network.peer.address",
    "network.peer.port",
];

const END: [&str; 4] = [
    "rpc.response.status_code",
    "error.type",
    "otel.status_code",
    "otel.status_description",
];

#[test]
fn without_a_subscriber_no_span_is_made() {
    tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::new(), || {
        let example = Example::of(CallSide::Server, "tcp://10.0.0.1:80");
        assert!(example.call(None, |call| Spans.began(call)).is_none());
    });
}

#[test]
fn a_span_names_the_call_and_its_kind() {
    let mut example = Example::of(CallSide::Server, "tcp://10.0.0.1:80");
    let (name, system) = ("chat.v1.Chat/Join", "wawo");
    let fields = pick(&example.fields(Code::Ok), &CALL);
    assert_eq!(fields, [name, "server", system, name, "2"]);
    example.side = CallSide::Client;
    let fields = pick(&example.fields(Code::Ok), &CALL);
    assert_eq!(fields, [name, "client", system, name, "2"]);
    example.is_known = false;
    let fields = pick(&example.fields(Code::Ok), &CALL);
    assert_eq!(fields, ["_OTHER", "client", system, "_OTHER", "7/3", "2"]);
}

#[test]
fn an_address_is_that_of_the_server_on_the_client_and_a_name_is_no_address_of_a_socket() {
    let server = |address| Example::of(CallSide::Server, address).fields(Code::Ok);
    let client = |address| Example::of(CallSide::Client, address).fields(Code::Ok);
    let of = |fields| pick(&fields, &ADDRESSES);
    assert_eq!(of(server("tcp://10.0.0.1:80")), ["10.0.0.1", "80"]);
    assert_eq!(of(server("unix:///run/app.sock")), ["/run/app.sock"]);
    assert_eq!(of(client("tls://example.com:443")), ["example.com", "443"]);
    assert_eq!(of(client("mem://chat")), ["chat", "chat"]);
    let both = ["fe80::1%eth0", "80", "fe80::1%eth0", "80"];
    assert_eq!(of(client("tcp://[fe80::1%eth0]:80")), both);
}

#[test]
fn the_end_records_the_code_and_a_failure_of_this_side() {
    let of = |side, code| pick(&Example::of(side, "mem://chat").fields(code), &END);
    assert_eq!(of(CallSide::Server, Code::Ok), ["OK"]);
    assert_eq!(of(CallSide::Client, Code::Ok), ["OK"]);
    assert_eq!(of(CallSide::Server, Code::NotFound), ["NOT_FOUND"]);
    let failure = |code| [code, code, "ERROR", "as asked"];
    let not_found = of(CallSide::Client, Code::NotFound);
    assert_eq!(not_found, failure("NOT_FOUND"));
    let internal = of(CallSide::Server, Code::Internal);
    assert_eq!(internal, failure("INTERNAL"));
}

#[test]
fn a_span_names_the_trace_in_the_metadata() {
    let mut example = Example::of(CallSide::Server, "mem://chat");
    let parent = "00-0bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    example.metadata.append("traceparent", parent).unwrap();
    let fields = example.fields(Code::Ok);
    let id = fields.get("trace_id").map(String::as_str);
    assert_eq!(id, Some("0bf92f3577b34da6a3ce929d0e0e4736"));
}
