//! The time that a span covers.

use std::{task::Poll, time::SystemTime};

use futures::{StreamExt as _, poll};
use wawo_otel::Traces;

use crate::support::{Exported, Node, RepeatRequest, attribute, kinds, script};

#[tokio::test]
async fn a_span_lasts_until_the_last_reply_of_a_stream() {
    let exported = Exported::begin();
    let echo = Node::default().traced(Traces::new());
    let request = RepeatRequest {
        data: "again".into(),
        times: 2,
    };
    let mut replies = echo.repeat(request).await.unwrap();
    replies.next().await.unwrap().unwrap();
    assert_eq!(kinds(&exported.spans()), "");
    replies.next().await.unwrap().unwrap();
    let before = SystemTime::now();
    assert!(replies.next().await.is_none());
    let spans = exported.chain();
    assert_eq!(kinds(&spans), "client server");
    assert!(spans.iter().all(|span| span.end_time >= before));
}

#[tokio::test]
async fn a_span_of_a_call_that_waited_ends_when_the_call_is_dropped() {
    let exported = Exported::begin();
    let echo = Node::default().traced(Traces::new());
    let mut call = std::pin::pin!(echo.act(script("wait")));
    assert!(matches!(poll!(&mut call), Poll::Pending));
    assert_eq!(kinds(&exported.spans()), "");
    let before = SystemTime::now();
    call.set(echo.act(script("wait")));
    let spans = exported.chain();
    assert_eq!(kinds(&spans), "client server");
    for span in spans {
        let code = attribute(&span, "rpc.response.status_code");
        assert_eq!(code.as_deref(), Some("CANCELLED"));
        assert!(span.end_time >= before, "{span:?}");
    }
}
