//! The end of a call after its response has begun, for layers that measure.

use wawo_protocol::Code;

use crate::{
    body::{Body, CountedStream, MessageCounter},
    response::Response,
    status::Status,
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
    /// yields its end or a status, when its deadline passes, or when it is dropped: then the function is called
    /// after the drop of the stream. A call that ends
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
            let hook = EndHook {
                function: Some(function),
                messages: 0,
                bytes: 0,
            };
            CountedStream::streaming(replies, hook)
        })
    }
}

/// Calls the function of [`Response::on_end`] at the end of a stream of replies.
struct EndHook<F: FnOnce(&EndOfCall)> {
    /// `None` once it was called.
    function: Option<F>,
    messages: u64,
    bytes: u64,
}

impl<F: FnOnce(&EndOfCall)> EndHook<F> {
    fn call(&mut self, status: impl FnOnce() -> Option<Status>) {
        if let Some(function) = self.function.take() {
            function(&EndOfCall {
                status: status(),
                messages: self.messages,
                bytes: self.bytes,
            });
        }
    }
}

impl<F: FnOnce(&EndOfCall) + Send + 'static> MessageCounter for EndHook<F> {
    fn count(&mut self, messages: usize, bytes: usize) {
        self.messages += messages as u64;
        self.bytes += bytes as u64;
    }

    fn end(&mut self, status: Option<&Status>) {
        self.call(|| status.cloned());
    }
}

impl<F: FnOnce(&EndOfCall)> Drop for EndHook<F> {
    fn drop(&mut self) {
        self.call(|| {
            Some(Status::cancelled(
                "the stream of replies was dropped before its end",
            ))
        });
    }
}
