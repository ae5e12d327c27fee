//! Tests of the access log: a call that ends, without a server.

mod json;
mod lines;
mod sink;
mod writing;

use std::time::{Duration, Instant};

use wawo_protocol::{Code, Metadata, MethodId, ServiceId, Shape};

use crate::{
    call_side::CallSide,
    descriptor::{MethodDescriptor, MethodIds, ServiceDescriptor},
    identity::Identity,
    observe::{
        Observe as _,
        access_log::{AccessLog, tests::sink::Page},
        call::{CallSummary, ObservedCall},
        trace_context::TraceContext,
    },
    peer_id::PeerId,
    transport::Address,
};

/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(600);

/// A call that an observer may be shown.
struct Call {
    side: CallSide,
    service: ServiceDescriptor,
    is_known: bool,
    peer: Option<PeerId>,
    address: Option<Address>,
    identity: Option<Identity>,
    metadata: Metadata,
    trace: Option<TraceContext>,
    call_depth: u32,
}

impl Call {
    /// A call of `chat.v1.Chat/Join` of which nothing else is known.
    fn new(side: CallSide) -> Self {
        let join = MethodDescriptor::builder("Join", Shape::Unary);
        let service = ServiceDescriptor::builder("chat.v1.Chat").method(join);
        Self {
            side,
            service: service.build().unwrap(),
            is_known: true,
            peer: None,
            address: None,
            identity: None,
            metadata: Metadata::new(),
            trace: None,
            call_depth: 0,
        }
    }

    fn with_metadata(mut self, key: &'static str, value: &'static [u8]) -> Self {
        self.metadata.append(key, value).unwrap();
        self
    }

    fn as_observed(&self) -> ObservedCall<'_> {
        let descriptor = self.service.methods().next();
        ObservedCall {
            side: self.side,
            ids: MethodIds {
                service: ServiceId(1),
                method: MethodId(2),
            },
            descriptor: descriptor.filter(|_| self.is_known),
            protocol: "wawo",
            peer: self.peer,
            address: self.address.as_ref(),
            identity: self.identity.as_ref(),
            metadata: &self.metadata,
            started: Instant::now(),
            deadline: None,
            call_depth: self.call_depth,
            trace: self.trace.as_ref(),
            span: None,
        }
    }

    fn end(&self, log: &AccessLog, end: &CallSummary<'_>) {
        log.ended(&self.as_observed(), end);
    }
}

/// The end of a call that took 152 µs.
fn end(code: Code, text: &str) -> CallSummary<'_> {
    CallSummary {
        code,
        text,
        delivery: None,
        queued: Duration::from_nanos(3_999),
        first_reply: None,
        took: Duration::from_micros(152),
        request_messages: 1,
        request_bytes: 20,
        reply_messages: 0,
        reply_bytes: 0,
        attempts: 1,
    }
}

/// The lines that a log writes about calls.
fn lines(
    log: impl FnOnce(AccessLog) -> AccessLog,
    make: impl FnOnce(Page) -> AccessLog,
    calls: impl FnOnce(&AccessLog),
) -> Vec<String> {
    let page = Page::default();
    let log = log(make(page.clone()));
    calls(&log);
    assert!(log.flush(LONG));
    page.lines()
}

fn json_lines(
    log: impl FnOnce(AccessLog) -> AccessLog,
    calls: impl FnOnce(&AccessLog),
) -> Vec<String> {
    lines(log, AccessLog::json, calls)
}

fn text_lines(
    log: impl FnOnce(AccessLog) -> AccessLog,
    calls: impl FnOnce(&AccessLog),
) -> Vec<String> {
    lines(log, AccessLog::text, calls)
}

#[test]
fn failed_and_slow_calls_are_logged_whatever_the_sample() {
    let call = Call::new(CallSide::Server);
    let slow = Duration::from_millis(5);
    let lines = json_lines(
        |log| log.sample(0).slow(slow),
        |log| {
            let mut good = end(Code::Ok, "");
            call.end(log, &good);
            good.took = slow - Duration::from_nanos(1);
            call.end(log, &good);
            good.took = slow;
            call.end(log, &good);
            for number in 1..=16 {
                call.end(log, &end(Code::from_wire(number), ""));
            }
        },
    );
    assert_eq!(lines.len(), 17, "{lines:#?}");
    assert!(lines[0].contains(r#""code":"OK""#) && lines[0].contains(r#""duration_us":5000"#));
}

#[test]
fn a_second_is_slow_by_default_and_all_calls_are_logged() {
    let call = Call::new(CallSide::Server);
    let mut second = end(Code::Ok, "");
    second.took = Duration::from_secs(1);
    let both = |log: &AccessLog| [&second, &end(Code::Ok, "")].map(|end| call.end(log, end));
    assert_eq!(json_lines(|log| log, |log| _ = both(log)).len(), 2);
    assert_eq!(
        json_lines(|log| log.sample(0), |log| _ = both(log)).len(),
        1
    );
}

#[test]
fn one_in_n_of_the_good_calls_is_logged_across_threads_and_clones() {
    let calls = |log: &AccessLog| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let log = log.clone();
                scope.spawn(move || {
                    let call = Call::new(CallSide::Server);
                    for _ in 0..250 {
                        call.end(&log, &end(Code::Ok, ""));
                        // Failed calls do not count.
                        call.end(&log, &end(Code::Aborted, ""));
                    }
                });
            }
        });
    };
    let lines = json_lines(|log| log.sample(100), calls);
    let good = lines.iter().filter(|line| line.contains(r#""code":"OK""#));
    assert_eq!((good.count(), lines.len()), (10, 1_010));
}

#[test]
fn a_clone_has_settings_of_its_own_and_writes_to_the_same_place() {
    let call = Call::new(CallSide::Server);
    let lines = json_lines(
        |log| log.sample(0),
        |log| {
            call.end(log, &end(Code::Ok, ""));
            call.end(&log.clone().sample(1), &end(Code::Ok, ""));
            call.end(log, &end(Code::Ok, ""));
        },
    );
    assert_eq!(lines.len(), 1);
}

#[test]
fn metadata_is_kept_only_for_a_log_that_needs_it() {
    let log = AccessLog::json(Page::default());
    assert_eq!(log.wants(), crate::observe::Wants::ENDS);
    let log = log.metadata(["user-agent"]);
    assert_eq!(log.wants(), crate::observe::Wants::ENDS.metadata());
}
