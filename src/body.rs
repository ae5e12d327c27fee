//! The messages of one direction of a call.

mod decoded;
mod items;
mod streaming;

use std::fmt;

use bytes::Bytes;
use wawo_protocol::MessageBytes;

pub(crate) use crate::body::items::{Items, MessageBatch, Pace, SEND_BATCH_BYTES};
pub use crate::body::streaming::{Sender, StreamEnd, Streaming};

/// The encoded messages of one direction of a call.
#[allow(clippy::exhaustive_enums, reason = "one message, or any number")]
pub enum Body {
    /// Exactly one message.
    One(MessageBytes),
    /// Any number of messages, as they come.
    Many(Streaming<Bytes>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(message) => write!(f, "One({} bytes)", message.len()),
            Self::Many(_) => f.write_str("Many(..)"),
        }
    }
}
