//! The messages of one direction of a call.
//!
//! A [`Body`] is one message, or a [`Streaming`] of any number. A `Streaming` takes its messages from a
//! source, [`Items`], which yields many at once if many are there: the inbox of a connection, another
//! stream that is decoded (`decoded`), changed (`adapters`) or counted (`counted`), or any stream of the application. A handler
//! that produces messages in a task of its own pushes them into a `channel`.

mod adapters;
mod channel;
mod counted;
mod decoded;
mod items;
mod only_message;
mod producer;
mod stream_item;
mod streaming;

use std::fmt;

use bytes::Bytes;
use wawo_protocol::MessageBytes;

pub use crate::body::{
    channel::{Sender, TrySendError},
    stream_item::StreamItem,
    streaming::{StreamEnd, Streaming},
};
pub(crate) use crate::body::{
    counted::{CountedStream, MessageCounter},
    items::{Items, MessageBatch, Pace, SEND_BATCH_BYTES},
    only_message::{WrongCount, only_message},
};

/// The encoded messages of one direction of a call.
///
/// ```
/// use bytes::Bytes;
/// use wawo::{Body, Result, Status};
///
/// /// The only message of a body.
/// fn message(body: Body) -> Result<Bytes> {
///     match body {
///         Body::One(message) => Ok(message.into_bytes()),
///         Body::Many(_) => Err(Status::invalid_argument("a stream")),
///     }
/// }
///
/// let body = Body::One(Bytes::from_static(b"hi").into());
/// assert_eq!(message(body).expect("one message"), "hi");
/// ```
#[allow(clippy::exhaustive_enums, reason = "one message, or any number")]
pub enum Body {
    /// Exactly one message.
    One(MessageBytes),
    /// Any number of messages, as they come.
    Many(Streaming<Bytes>),
}

impl Body {
    /// The length of the message, in bytes; 0 for a stream.
    pub(crate) fn message_bytes(&self) -> usize {
        match self {
            Self::One(message) => message.len(),
            Self::Many(_) => 0,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(message) => write!(f, "One({} bytes)", message.len()),
            Self::Many(_) => f.write_str("Many(..)"),
        }
    }
}
