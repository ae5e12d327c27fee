//! The response of a call, as layers see it.

mod end;

use bytes::Bytes;
use wawo_protocol::{MessageBytes, Metadata};

use crate::body::{Body, Streaming};
pub use crate::response::end::EndOfCall;

/// The result of a call that succeeds, as the tower stack returns it: metadata and messages. A
/// [`Status`](crate::Status) is the result of a call that fails.
#[derive(Debug)]
pub struct Response {
    /// The metadata; `None` if there is none. It is boxed, because most responses have none and are moved
    /// often.
    parts: Option<Box<ResponseParts>>,
    body: Body,
}

/// The metadata of a response that has none.
static NONE: Metadata = Metadata::new();

/// All parts of a [`Response`] but its messages.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ResponseParts {
    /// The metadata that is sent before the messages.
    pub metadata: Metadata,
    /// The metadata that is sent after a single reply. That of a stream of replies is in the stream: see
    /// [`Streaming::trailing_metadata`].
    pub trailing_metadata: Metadata,
}

impl ResponseParts {
    /// Both kinds of metadata, the leading before the trailing.
    #[cold]
    fn into_one(self) -> Metadata {
        let mut metadata = self.metadata;
        metadata.extend(self.trailing_metadata);
        metadata
    }
}

impl Response {
    /// A response with this metadata before its messages.
    #[inline]
    pub fn new(metadata: Metadata, body: Body) -> Self {
        let mut response = Self { parts: None, body };
        if !metadata.is_empty() {
            *response.metadata_mut() = metadata;
        }
        response
    }

    /// The empty response to a one-way message that was sent.
    pub(crate) fn empty() -> Self {
        Self::new(Metadata::new(), Body::One(MessageBytes::default()))
    }

    /// A response with these parts and messages.
    pub fn from_parts(parts: ResponseParts, body: Body) -> Self {
        let parts = Some(Box::new(parts));
        Self { parts, body }
    }

    /// The parts, and the messages.
    pub fn into_parts(self) -> (ResponseParts, Body) {
        let parts = self.parts.map(|parts| *parts);
        (parts.unwrap_or_default(), self.body)
    }

    /// The messages, without the metadata.
    pub fn into_body(self) -> Body {
        self.body
    }

    /// The metadata that is sent before the messages.
    pub fn metadata(&self) -> &Metadata {
        self.parts.as_ref().map_or(&NONE, |parts| &parts.metadata)
    }

    /// The metadata that is sent before the messages, to be changed.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.parts.get_or_insert_default().metadata
    }

    /// The metadata that is sent after the messages: after a single reply if its handler has set it;
    /// after a stream once it has ended well, and empty until then.
    ///
    /// A connection sends a single reply in one packet: there, its trailing metadata arrives as
    /// [`metadata`](Self::metadata), after the leading. A gateway to a protocol that has both finds them
    /// separate here.
    pub fn trailing_metadata(&self) -> &Metadata {
        match &self.body {
            Body::Many(replies) => replies.trailing_metadata(),
            Body::One(_) => {
                let parts = self.parts.as_ref();
                parts.map_or(&NONE, |parts| &parts.trailing_metadata)
            }
        }
    }

    /// The messages of the response.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The messages of the response, to be changed.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Adds metadata after a single reply.
    pub(crate) fn with_trailing_metadata(mut self, metadata: Metadata) -> Self {
        if !metadata.is_empty() {
            self.parts.get_or_insert_default().trailing_metadata = metadata;
        }
        self
    }

    /// Replaces the stream of replies, if there is one.
    pub(crate) fn map_stream(self, map: impl FnOnce(Streaming<Bytes>) -> Streaming<Bytes>) -> Self {
        let body = match self.body {
            Body::One(message) => Body::One(message),
            Body::Many(replies) => Body::Many(map(replies)),
        };
        Self { body, ..self }
    }

    /// Metadata and messages in the form of packets: a single reply has one set of metadata.
    pub(crate) fn into_wire_parts(self) -> (Metadata, Body) {
        match self.parts {
            None => (Metadata::new(), self.body),
            Some(parts) => ((*parts).into_one(), self.body),
        }
    }
}
