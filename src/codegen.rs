//! The names that generated code uses, and nothing else. Do not use them by hand: they change with the
//! generator.

pub use core::{
    clone::Clone,
    fmt,
    fmt::Debug,
    future::Future,
    marker::{PhantomData, Send, Sync},
    mem::size_of,
    task,
};
pub use std::{string::String, sync::Arc};

pub use bytes::Bytes;
pub use futures_core::Stream;
pub use prost;
pub use prost_types;
pub use tower::{Layer, Service};

pub use crate::{
    body::{StreamItem, Streaming},
    call::{Call, call, call_bidi_streaming, call_client_streaming, call_server_streaming, send},
    call_target::{CallTarget, ReplyAbility, Start, TwoWay, start},
    codec::Prost,
    context::Context,
    descriptor::{Idempotency, MethodDescriptor, MethodRef, MethodTexts, ServiceDescriptor, Shape},
    dispatch::handler::{
        bidi_streaming, client_streaming, one_way, server_streaming, unary, unimplemented,
    },
    layer::PanicGuard,
    layout::{Field, Layout},
    request::Request,
    response::Response,
    response_future::ResponseFuture,
    serve::{Layered, Serve},
    status::{Result, Status},
};
