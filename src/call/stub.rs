//! Makes the calls of stubs, one function for each shape, and reads their replies.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures_core::Stream;

use crate::{
    body::{Body, StreamItem, Streaming, WrongCount},
    call::{Call, only_reply::wrong_replies, requests::encode_all},
    call_target::Start,
    codec::Codec,
    decoding::{self, StreamMemory},
    descriptor::{MethodDescriptor, MethodRef},
    status::{Result, Status},
    wake_io,
};

/// One request, one reply.
pub fn call<C, Q, R>(
    to: &Arc<dyn Start>,
    method: impl Into<MethodRef>,
    codec: C,
    request: Q,
) -> Call<R>
where
    C: Codec<Q> + Codec<R>,
{
    let body = Body::One(codec.encode_linked(&request));
    Call::new(to, method.into(), body, read_one::<C, R>)
}

/// One request, nothing back.
pub fn send<C, Q>(
    to: &Arc<dyn Start>,
    method: impl Into<MethodRef>,
    codec: C,
    request: Q,
) -> Call<()>
where
    C: Codec<Q>,
{
    let body = Body::One(codec.encode_linked(&request));
    Call::new(to, method.into(), body, |_, _, _| Ok(()))
}

/// One request, a stream of replies.
pub fn call_server_streaming<C, Q, R>(
    to: &Arc<dyn Start>,
    method: impl Into<MethodRef>,
    codec: C,
    request: Q,
) -> Call<Streaming<R>>
where
    C: Codec<Q> + Codec<R>,
    R: Send + 'static,
{
    let body = Body::One(codec.encode_linked(&request));
    Call::new(to, method.into(), body, read_many::<C, R>)
}

/// A stream of requests, one reply.
pub fn call_client_streaming<C, Q, R>(
    to: &Arc<dyn Start>,
    method: impl Into<MethodRef>,
    codec: C,
    requests: impl Stream<Item: StreamItem<Q>> + Send + 'static,
) -> Call<R>
where
    C: Codec<Q> + Codec<R>,
    Q: 'static,
{
    let method = method.into();
    let body = encode_all(method.clone(), codec, requests);
    Call::new(to, method, body, read_one::<C, R>)
}

/// A stream of requests, a stream of replies.
pub fn call_bidi_streaming<C, Q, R>(
    to: &Arc<dyn Start>,
    method: impl Into<MethodRef>,
    codec: C,
    requests: impl Stream<Item: StreamItem<Q>> + Send + 'static,
) -> Call<Streaming<R>>
where
    C: Codec<Q> + Codec<R>,
    Q: 'static,
    R: Send + 'static,
{
    let method = method.into();
    let body = encode_all(method.clone(), codec, requests);
    Call::new(to, method, body, read_many::<C, R>)
}

fn read_one<C: Codec<R>, R>(
    method: &MethodDescriptor,
    body: Body,
    max_decoded_bytes: usize,
) -> Result<R> {
    match body {
        Body::One(message) => decode(
            C::default(),
            method,
            message.into_bytes(),
            max_decoded_bytes,
        ),
        // A call that expects one reply makes one message of a stream before it is read.
        Body::Many(_) => Err(wrong_replies(method, WrongCount::Several)),
    }
}

fn read_many<C, R>(
    method: &MethodDescriptor,
    body: Body,
    max_decoded_bytes: usize,
) -> Result<Streaming<R>>
where
    C: Codec<R>,
    R: Send + 'static,
{
    match body {
        Body::Many(replies) => {
            let memory = StreamMemory::replies::<C, R>(method, max_decoded_bytes);
            let (method, failed) = (method.clone(), method.clone());
            let decode = move |bytes: &[u8], whole: &Bytes, replies: &mut VecDeque<R>| {
                let decoded = C::default().decode_to(bytes, whole, replies);
                decoded.map_err(|error| {
                    Status::from_bad_reply(&method, bytes.len(), error).of_call(&method, None)
                })
            };
            Ok(replies.decoded(decode, memory, move |status| status.of_call(&failed, None)))
        }
        Body::One(message) => {
            let bytes = message.into_bytes();
            decode(C::default(), method, bytes, max_decoded_bytes).map(Streaming::once)
        }
    }
}

#[inline]
fn decode<C: Codec<R>, R>(
    codec: C,
    method: &MethodDescriptor,
    bytes: Bytes,
    max_decoded_bytes: usize,
) -> Result<R> {
    let length = bytes.len();
    if length > wake_io::LARGE_BYTES || !decoding::is_little_reply(method, length) {
        before_heavy_reply(codec, method, &bytes, max_decoded_bytes)?;
    }
    let reply = codec.decode(bytes);
    reply.map_err(|error| Status::from_bad_reply(method, length, error))
}

/// Checks a reply that takes long to decode, or perhaps much memory, and wakes another thread for I/O
/// meanwhile. It is a function of its own, so that all other replies cost only a comparison.
#[inline(never)]
fn before_heavy_reply<C: Codec<R>, R>(
    codec: C,
    method: &MethodDescriptor,
    bytes: &Bytes,
    max_decoded_bytes: usize,
) -> Result<()> {
    decoding::check_reply(method, codec, bytes, max_decoded_bytes)?;
    wake_io::before_decoding(bytes.len());
    Ok(())
}
