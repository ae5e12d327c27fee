//! The stream of requests of a call, as it is sent.

use std::{
    collections::VecDeque,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use pin_project_lite::pin_project;
use wawo_protocol::packet::BatchBuilder;

use crate::{
    body::{Body, Items, Pace, StreamItem, Streaming},
    codec::Codec,
    descriptor::MethodRef,
    panic::{Part, catch},
    status::Result,
    unwinding::drop_broken,
};

pub(super) fn encode_all<C, Q>(
    method: MethodRef,
    codec: C,
    requests: impl Stream<Item: StreamItem<Q>> + Send + 'static,
) -> Body
where
    C: Codec<Q>,
    Q: 'static,
{
    let requests = Some(requests);
    Body::Many(Streaming::of_items(EncodedStream {
        method,
        requests,
        codec,
        request: PhantomData,
    }))
}

pin_project! {
    /// The requests of a stream, as bytes. A panic in the stream, which is the caller's own code, is
    /// caught here, wherever the stream is polled.
    struct EncodedStream<C, Q, S> {
        method: MethodRef,
        // The stream; `None` once it has panicked.
        #[pin]
        requests: Option<S>,
        codec: C,
        request: PhantomData<fn(Q)>,
    }
}

impl<C, Q, S> EncodedStream<C, Q, S> {
    /// Polls the stream with a function, and catches panics.
    fn catch_poll<T>(
        self: Pin<&mut Self>,
        poll: impl FnOnce(Pin<&mut S>, &C) -> Poll<Option<Result<T>>>,
    ) -> Poll<Option<Result<T>>> {
        let mut this = self.project();
        let Some(requests) = this.requests.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        catch(Part::Requests, || poll(requests, this.codec)).unwrap_or_else(|status| {
            status.log(&**this.method, &"this process, which calls");
            drop_broken(|| this.requests.set(None));
            // The panic was logged here, so those who get the status need not log it again.
            Poll::Ready(Some(Err(status.with_cause_in_text())))
        })
    }
}

impl<C: Codec<Q>, Q, S: Stream<Item: StreamItem<Q>> + Send> Items<Bytes>
    for EncodedStream<C, Q, S>
{
    fn poll_item(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Result<Bytes>>> {
        self.catch_poll(|requests, codec| {
            let request = ready!(requests.poll_next(cx));
            let encode = |request| codec.encode(&request);
            Poll::Ready(request.map(|request| request.into_result().map(encode)))
        })
    }

    fn fill_batch(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
        packets: &mut BatchBuilder,
    ) -> Poll<Option<Result<()>>> {
        self.catch_poll(|mut requests, codec| {
            let mut pace = Pace::new();
            while let Some(request) = ready!(requests.as_mut().poll_next(cx)) {
                let request = match request.into_result() {
                    Ok(request) => request,
                    Err(status) => return Poll::Ready(Some(Err(status))),
                };
                packets.push(|buffer| codec.encode_to(&request, buffer));
                if pace.after_one(packets).is_break() {
                    return Poll::Ready(None);
                }
            }
            Poll::Ready(Some(Ok(())))
        })
    }
}
