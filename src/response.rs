//! The answer to a call, as layers see it.

use wawo_protocol::{MessageBytes, Metadata};

use crate::body::Body;

/// What comes back through the tower stack when a call succeeds; a [`Status`](crate::Status)
/// does when it fails.
#[derive(Debug)]
pub struct Response {
    metadata: Metadata,
    body: Body,
}

impl Response {
    /// An answer.
    pub fn new(metadata: Metadata, body: Body) -> Self {
        Self { metadata, body }
    }

    /// The response to a one-way message that is on its way: nothing.
    pub(crate) fn empty() -> Self {
        Self::new(Metadata::new(), Body::One(MessageBytes::default()))
    }

    /// What travels beside the messages.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What travels beside the messages, to be changed.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// The messages of the answer.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Metadata and messages.
    pub fn into_parts(self) -> (Metadata, Body) {
        (self.metadata, self.body)
    }
}
