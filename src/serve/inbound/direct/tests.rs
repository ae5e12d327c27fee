//! Calls of a test's own origin, in paused time.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tower::service_fn;
use wawo_protocol::{Code, Config, ConfigBuilder, MessageBytes, Metadata, MethodId, ServiceId};

use super::{DirectInbound, Origin};
use crate::{
    body::{Body, Streaming},
    call_depth,
    observe::FarEnd,
    request::Request,
    response::Response,
    serve::BoxService,
    status::{Result, Status},
};

/// An origin that allows two calls in flight.
#[derive(Debug, Default)]
struct Caller {
    in_flight: AtomicUsize,
    begun: AtomicUsize,
}

impl Caller {
    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }
}

impl Origin for Caller {
    fn begin_call(&self) -> Result<()> {
        if self.in_flight() == 2 {
            return Err(Status::resource_exhausted("two are in flight"));
        }
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        self.begun.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn end_call(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a caller")
    }
}

/// The ids of the test service's methods.
const WAIT: u32 = 1;
const STREAM: u32 = 2;
const DEADLINE: u32 = 3;

/// A service whose methods wait for ever, return a stream that waits for ever, or return their deadline
/// in milliseconds.
fn inbound(config: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Arc<DirectInbound> {
    let begun = crate::clock::now();
    let service = service_fn(move |request: Request| async move {
        let body = match request.method().0 {
            WAIT => std::future::pending().await,
            STREAM => Body::Many(Streaming::pending()),
            _ => {
                let deadline = request.deadline().map(|at| (at - begun).as_millis());
                Body::One(Bytes::from(format!("{deadline:?}")).into())
            }
        };
        Ok::<_, Status>(Response::new(Metadata::new(), body))
    });
    let config = config(Config::builder()).build().unwrap();
    DirectInbound::new(
        BoxService::new(service),
        Arc::new(config),
        FarEnd::in_process(),
    )
}

fn request(method: u32) -> Request {
    let body = Body::One(MessageBytes::default());
    Request::by_id(ServiceId(1), MethodId(method), false, body)
}

const fn seconds(count: u64) -> Option<Duration> {
    Some(Duration::from_secs(count))
}

fn limited() -> Arc<DirectInbound> {
    inbound(|config| {
        let config = config.max_timeout(seconds(2));
        config.max_stream_time(seconds(4)).max_call_depth(3)
    })
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_the_limit_of_the_callee_or_earlier_if_the_caller_says_so() {
    let (inbound, caller) = (limited(), Arc::new(Caller::default()));
    let mut soon = request(WAIT);
    soon.set_deadline(Some(crate::clock::now() + Duration::from_secs(1)));
    for (request, text) in [
        (request(WAIT), "(max_timeout of the callee, 2s)"),
        (soon, "(timeout of the call)"),
    ] {
        let status = inbound.clone().serve(request, caller.clone()).await;
        let status = status.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().ends_with(text), "{status}");
    }
    assert_eq!(caller.in_flight(), 0);
    assert_eq!(caller.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_at_its_own_limit_and_counts_until_then() {
    let (inbound, caller) = (limited(), Arc::new(Caller::default()));
    let response = inbound.serve(request(STREAM), caller.clone()).await;
    let (_, Body::Many(mut replies)) = response.unwrap().into_parts() else {
        panic!("the reply is a stream");
    };
    assert_eq!(caller.in_flight(), 1);
    let status = replies.message().await.unwrap_err();
    let text = "the stream was under way for 4.0s when its deadline passed \
                (max_stream_time of the callee, 4s)";
    assert_eq!(status.message(), text);
    assert_eq!(caller.in_flight(), 0);
    assert!(replies.message().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_handler_knows_the_deadline_and_there_is_none_unless_one_side_sets_it() {
    for (inbound, deadline) in [
        (limited(), "Some(2000)"),
        (inbound(|config| config), "None"),
    ] {
        let caller = Arc::new(Caller::default());
        let response = inbound.serve(request(DEADLINE), caller).await.unwrap();
        let Body::One(text) = response.into_parts().1 else {
            panic!("the reply is one message");
        };
        assert_eq!(text.into_bytes(), deadline);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_count_while_they_last_and_one_too_many_is_refused() {
    let (inbound, caller) = (inbound(|config| config), Arc::new(Caller::default()));
    let begin = || {
        let call = inbound.clone().serve(request(WAIT), caller.clone());
        tokio::spawn(call)
    };
    let first = begin();
    let second = begin();
    while caller.in_flight() < 2 {
        tokio::task::yield_now().await;
    }
    let status = inbound.clone().serve(request(WAIT), caller.clone()).await;
    assert_eq!(status.unwrap_err().message(), "two are in flight");
    assert_eq!(caller.in_flight(), 2);
    first.abort();
    second.abort();
    let _ = (first.await, second.await);
    assert_eq!(caller.in_flight(), 0);
    // A call that was never polled has not begun, so it does not count.
    drop(inbound.serve(request(WAIT), caller.clone()));
    assert_eq!(caller.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn the_depth_is_in_the_request_or_in_its_metadata() {
    let (inbound, caller) = (limited(), Arc::new(Caller::default()));
    for (depth, code) in [(3, None), (4, Some(Code::ResourceExhausted))] {
        let mut here = request(DEADLINE);
        here.head_mut().call_depth = depth;
        let mut from_elsewhere = request(DEADLINE);
        call_depth::put(depth, from_elsewhere.metadata_mut());
        for request in [here, from_elsewhere] {
            let result = inbound.clone().serve(request, caller.clone()).await;
            assert_eq!(result.err().map(|status| status.code()), code, "{depth}");
        }
    }
}
