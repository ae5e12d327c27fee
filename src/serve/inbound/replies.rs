//! The streams that leave this side: the replies of a call that is served, and the requests of a call.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use futures_core::Stream;
use wawo_protocol::{Metadata, packet::BatchBuilder};

use crate::{
    body::Streaming,
    clock::{self, DEADLINE_TOLERANCE},
    expiry,
    panic::{Part, catch_stream},
    status::Result,
};

/// A stream of messages that leaves this side; a panic in it ends it with a status.
///
/// Dropping it before its end stops it. If the deadline of its call has passed by then, its layers first
/// see `DeadlineExceeded`; otherwise they see a drop.
#[derive(Debug)]
pub(crate) struct ExpiringStream {
    messages: Streaming<Bytes>,
    /// The part of the application that the stream belongs to, for the report of a panic.
    part: Part,
    /// A drop after this time means that the deadline has passed.
    deadline: Option<Instant>,
}

/// How many messages a stream may still yield at its deadline before it has to end. A layer that buffers
/// messages may have some ready; the stream of a handler is not asked for any.
const LAST_MESSAGES: usize = 64;

impl ExpiringStream {
    /// The replies of a call.
    pub(crate) fn replies(messages: Streaming<Bytes>, deadline: Option<Instant>) -> Self {
        Self {
            messages,
            part: Part::Replies,
            deadline,
        }
    }

    /// The replies of a call whose deadline both sides of a connection count.
    pub(crate) fn replies_of_connection(
        messages: Streaming<Bytes>,
        deadline: Option<Instant>,
    ) -> Self {
        Self::replies(
            messages,
            deadline.and_then(|at| at.checked_sub(DEADLINE_TOLERANCE)),
        )
    }

    /// The requests of a call that this side makes. The caller ends them itself.
    pub(crate) fn requests(messages: Streaming<Bytes>) -> Self {
        Self {
            messages,
            part: Part::Requests,
            deadline: None,
        }
    }

    /// The next message.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        catch_stream(self.part, &mut self.messages, |messages| {
            Pin::new(messages).poll_next(cx)
        })
    }

    /// Adds the messages that are ready to a batch, as [`Streaming::fill_batch`] does.
    pub(crate) fn fill_batch(
        &mut self,
        cx: &mut Context<'_>,
        packets: &mut BatchBuilder,
    ) -> Poll<Option<Result<()>>> {
        catch_stream(self.part, &mut self.messages, |messages| {
            messages.fill_batch(cx, packets)
        })
    }

    /// The metadata at the end of a stream that has ended without an error.
    pub(crate) fn take_trailing_metadata(&mut self) -> Metadata {
        self.messages.take_trailing_metadata()
    }

    /// Ends the stream because its deadline has passed; its layers see that.
    pub(crate) fn expire(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        expiry::scope(|| {
            for _ in 0..LAST_MESSAGES {
                if !matches!(self.poll_next(&mut cx), Poll::Ready(Some(Ok(_)))) {
                    break;
                }
            }
        });
        self.messages = Streaming::empty();
    }
}

impl Drop for ExpiringStream {
    fn drop(&mut self) {
        if self.messages.end().is_none() && self.deadline.is_some_and(clock::has_passed) {
            self.expire();
        }
    }
}
