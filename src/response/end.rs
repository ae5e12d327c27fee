//! The end of a call after its response has begun, for layers that measure.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use wawo_protocol::{Code, Metadata, packet::BatchBuilder};

use crate::{
    body::{Body, Items, Streaming},
    response::Response,
    status::{Result, Status},
};

/// How a call ended after its response had begun. See [`Response::on_end`].
#[derive(Debug)]
pub struct EndOfCall {
    status: Option<Status>,
    messages: u64,
    bytes: u64,
}

impl EndOfCall {
    /// The outcome: `Ok`, or the code of the status.
    pub fn code(&self) -> Code {
        self.status.as_ref().map_or(Code::Ok, Status::code)
    }

    /// The status of a stream of replies that failed: `Cancelled` if it was dropped before its end, and
    /// `DeadlineExceeded` if the deadline ended it. `None` if all replies were passed on.
    pub fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// The number of replies that were passed on.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The bytes of these replies, encoded and without the headers of packets.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Response {
    /// Calls a function at the end of the call, exactly once: for layers that count, log or trace.
    ///
    /// A single reply is complete, so the function is called at once. A stream of replies ends when it
    /// yields its end or a status, when its deadline passes, or when it is dropped. A call that ends
    /// before it has a response does not reach this: the layer sees a status, or its future is dropped.
    ///
    /// The function runs where the stream is polled or dropped, so it must not block.
    #[must_use = "the function of a stream is called only by the response that is returned"]
    pub fn on_end(self, function: impl FnOnce(&EndOfCall) + Send + 'static) -> Self {
        if let Body::One(message) = self.body() {
            function(&EndOfCall {
                status: None,
                messages: 1,
                bytes: message.len() as u64,
            });
            return self;
        }
        self.map_stream(|replies| {
            let function = Some(function);
            Streaming::of_items(CountedReplies {
                replies,
                function,
                messages: 0,
                bytes: 0,
            })
        })
    }
}

/// A stream of replies that counts them, and reports its end.
struct CountedReplies<F: FnOnce(&EndOfCall)> {
    replies: Streaming<Bytes>,
    /// The function; `None` once it was called.
    function: Option<F>,
    messages: u64,
    bytes: u64,
}

// Nothing in it is pinned: the stream is in a box of its own.
impl<F: FnOnce(&EndOfCall)> Unpin for CountedReplies<F> {}

impl<F: FnOnce(&EndOfCall)> CountedReplies<F> {
    fn count(&mut self, messages: usize, bytes: usize) {
        self.messages += messages as u64;
        self.bytes += bytes as u64;
    }

    fn end(&mut self, status: Option<Status>) {
        if let Some(function) = self.function.take() {
            function(&EndOfCall {
                status,
                messages: self.messages,
                bytes: self.bytes,
            });
        }
    }
}

impl<F: FnOnce(&EndOfCall) + Send> Items<Bytes> for CountedReplies<F> {
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Result<Bytes>>> {
        let polled = Pin::new(&mut self.replies).poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(message))) => self.count(1, message.len()),
            Poll::Ready(Some(Err(status))) => self.end(Some(status.clone())),
            Poll::Ready(None) => self.end(None),
            Poll::Pending => {}
        }
        polled
    }

    fn fill_batch(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
        packets: &mut BatchBuilder,
    ) -> Poll<Option<Result<()>>> {
        let (messages, bytes) = (packets.messages(), packets.message_bytes());
        let polled = self.replies.fill_batch(cx, packets);
        self.count(
            packets.messages() - messages,
            packets.message_bytes() - bytes,
        );
        match &polled {
            Poll::Ready(Some(Ok(()))) => self.end(None),
            Poll::Ready(Some(Err(status))) => self.end(Some(status.clone())),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn take_trailing_metadata(mut self: Pin<&mut Self>) -> Metadata {
        self.replies.take_trailing_metadata()
    }
}

impl<F: FnOnce(&EndOfCall)> Drop for CountedReplies<F> {
    fn drop(&mut self) {
        self.end(Some(Status::cancelled(
            "the stream of replies was dropped before its end",
        )));
    }
}

impl<F: FnOnce(&EndOfCall)> fmt::Debug for CountedReplies<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CountedReplies")
    }
}
