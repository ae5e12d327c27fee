//! The stream of a handler's replies, as the body of its response.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    pin::Pin,
    task::{self, Poll},
};

use bytes::Bytes;
use wawo_protocol::{Metadata, packet::BatchBuilder};

use crate::{
    body::{Body, Items, Pace, Streaming},
    codec::Codec,
    context::{CancelOnDrop, Context},
    dispatch::handler_future::failed,
    expiry,
    panic::{Part, catch},
    status::Result,
    unwinding::drop_broken,
};

/// Encodes the replies of a handler when they are polled. Dropping the body before its end cancels the
/// call.
pub(super) fn encode_all<C, R>(codec: C, context: &Context, replies: Streaming<R>) -> Body
where
    C: Codec<R>,
    R: Send + 'static,
{
    let cancel = context.cancel_on_drop();
    Body::Many(Streaming::of_items(Replies {
        codec,
        replies,
        context: context.clone(),
        cancel,
    }))
}

/// The replies of a handler, encoded. They are polled in the context of the call, because the scope of
/// the handler's future has ended by then.
struct Replies<C, R> {
    codec: C,
    replies: Streaming<R>,
    context: Context,
    cancel: CancelOnDrop,
}

impl<C: Codec<R>, R> Replies<C, R> {
    /// Takes replies until `take` has enough.
    fn poll_in_context(
        &mut self,
        cx: &mut task::Context<'_>,
        take: &mut dyn FnMut(&R) -> ControlFlow<()>,
    ) -> Poll<Option<Result<()>>> {
        if expiry::is_expiring() {
            // The deadline has passed: the stream is about to be dropped, and further items come too
            // late.
            return Poll::Pending;
        }
        let replies = &mut self.replies;
        let poll = || self.context.sync_scope(|| replies.poll_each(cx, take));
        let polled = catch(Part::Replies, poll).unwrap_or_else(|status| {
            drop_broken(|| self.replies = Streaming::empty());
            Poll::Ready(Some(Err(status)))
        });
        if let Poll::Ready(Some(Ok(()))) = &polled {
            self.cancel.disarm();
        }
        polled.map(|end| end.map(|result| result.map_err(|status| failed(&self.context, status))))
    }
}

impl<C: Codec<R>, R: Send> Items<Bytes> for Replies<C, R> {
    fn poll_item(
        self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        _: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Result<Bytes>>> {
        let (mut one, codec) = (None, self.codec);
        let end = self.get_mut().poll_in_context(cx, &mut |reply| {
            one = Some(codec.encode(reply));
            ControlFlow::Break(())
        });
        match one {
            Some(reply) => Poll::Ready(Some(Ok(reply))),
            None => end.map(|end| end.and_then(Result::err).map(Err)),
        }
    }

    fn fill_batch(
        self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        _: &mut VecDeque<Bytes>,
        packets: &mut BatchBuilder,
    ) -> Poll<Option<Result<()>>> {
        let (mut pace, codec) = (Pace::new(), self.codec);
        self.get_mut().poll_in_context(cx, &mut |reply| {
            packets.push(|buffer| codec.encode_to(reply, buffer));
            pace.after_one(packets)
        })
    }

    fn take_trailing_metadata(mut self: Pin<&mut Self>) -> Metadata {
        let mut metadata = self.replies.take_trailing_metadata();
        metadata.extend(self.context.take_trailing_metadata());
        metadata
    }
}
