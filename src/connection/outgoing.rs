//! The calls of this side, as a driver keeps them in the protocol's state machine.

use std::{sync::Arc, task::Waker};

use bytes::Bytes;
use wawo_protocol::{CallOutcome, Code, Connection, ConnectionError, Metadata, Refusal};

use crate::{
    body::{Body, MessageBatch, Streaming},
    connection::{inbox::Inbox, stream_task::StreamTask},
    response::Response,
    response_future::ResponseSlot,
    status::{Delivery, Result, Status},
};

/// The protocol's state machine. It keeps an [`OutgoingCall`] for each call that this side starts.
pub(crate) type Protocol = Connection<OutgoingCall>;

/// A call of this side, until it ends.
#[derive(Debug)]
pub(crate) struct OutgoingCall {
    slot: Arc<ResponseSlot>,
    /// The streams of the call. They are boxed, because most calls have none and a call is moved often.
    streams: Option<Box<Streams>>,
}

/// The streams of a call.
#[derive(Debug, Default)]
struct Streams {
    /// The stream of requests, until the call is sent.
    requests: Option<Streaming<Bytes>>,
    /// The task that carries the requests, once the call is sent.
    request_task: Option<StreamTask>,
    replies: Option<Arc<Inbox>>,
}

impl OutgoingCall {
    /// A call whose caller waits for the slot. `requests` is its stream of requests, if it has one.
    pub(super) fn new(slot: Arc<ResponseSlot>, requests: Option<Streaming<Bytes>>) -> Self {
        let streams = requests.map(|requests| {
            Box::new(Streams {
                requests: Some(requests),
                ..Streams::default()
            })
        });
        Self { slot, streams }
    }

    pub(super) fn slot(&self) -> &Arc<ResponseSlot> {
        &self.slot
    }

    /// Takes the stream of requests, which begins now.
    pub(super) fn take_requests(&mut self) -> Option<Streaming<Bytes>> {
        self.streams.as_mut()?.requests.take()
    }

    /// Records the task that carries the stream of requests.
    pub(super) fn set_request_task(&mut self, task: StreamTask) {
        self.streams.get_or_insert_default().request_task = Some(task);
    }

    pub(super) fn request_task(&self) -> Option<&StreamTask> {
        self.streams.as_ref()?.request_task.as_ref()
    }

    /// Records that the reply is a stream, which has begun.
    pub(super) fn begin_replies(&mut self, replies: Arc<Inbox>) {
        self.streams.get_or_insert_default().replies = Some(replies);
    }

    /// The inbox of the replies, if they are a stream.
    pub(super) fn replies(&self) -> Option<&Arc<Inbox>> {
        self.streams.as_ref()?.replies.as_ref()
    }

    /// Ends a call that was not started, or surely not served.
    pub(super) fn refuse(self, reason: &Refusal, wakers: &mut Vec<Waker>) {
        self.end(Err(Status::from_refusal(reason)), wakers);
    }

    /// Ends a call that was in flight when the connection ended. `cut` is the reason, if this side cut
    /// it.
    pub(super) fn lose(
        self,
        error: &ConnectionError,
        cut: Option<&str>,
        sent: bool,
        wakers: &mut Vec<Waker>,
    ) {
        let so_far = match self.streams.is_some() {
            true => "the stream was under way",
            false => "the call was sent and may have been served",
        };
        let status = match (sent, cut) {
            (false, _) => Status::from_closed(error),
            (true, None) => Status::from_lost(so_far, error),
            (true, Some(cut)) => Status::from_lost(format_args!("{so_far}: {cut}"), error),
        };
        self.end(Err(status), wakers);
    }

    /// Ends a call with a single reply.
    pub(super) fn complete(self, reply: Bytes, wakers: &mut Vec<Waker>) {
        let response = Response::new(Metadata::new(), Body::One(reply.into()));
        self.end(Ok(response), wakers);
    }

    pub(super) fn end(self, result: Result<Response>, wakers: &mut Vec<Waker>) {
        match self.replies() {
            Some(replies) => wakers.extend(replies.end(result.map(trailing_metadata))),
            None => wakers.extend(self.slot.complete(result)),
        }
    }
}

/// The metadata that came with the end of a stream of replies.
fn trailing_metadata(end: Response) -> Metadata {
    end.into_wire_parts().0
}

/// Ends a call with the outcome that the protocol reports.
pub(super) fn ended(ended: CallOutcome<OutgoingCall>, wakers: &mut Vec<Waker>) {
    let CallOutcome {
        token,
        message,
        code,
        metadata,
        text,
        details,
        ..
    } = ended;
    let result = match code {
        Code::Ok => {
            if let (Some(replies), Some(message)) = (token.replies(), &message) {
                wakers.extend(replies.push(MessageBatch::One(message.clone())));
            }
            let body = message.map_or_else(
                || Body::Many(Streaming::empty()),
                |message| Body::One(message.into()),
            );
            Ok(Response::new(metadata, body))
        }
        code => {
            let delivery = match (ended.ended_by_peer, ended.sent) {
                _ if ended.refused => Delivery::NotSent,
                (true, _) => Delivery::Responded,
                (false, true) => Delivery::Unknown,
                (false, false) => Delivery::NotSent,
            };
            let status = Status::received(code, text, metadata, details);
            Err(status.with_delivery(delivery))
        }
    };
    token.end(result, wakers);
}
