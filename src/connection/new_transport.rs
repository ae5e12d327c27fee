//! A transport that a driver begins with.

use std::time::Instant;

use bytes::BytesMut;

use crate::{clock, transport::Transport};

/// A transport, and the beginning of what comes over it if that was read before there was a driver.
pub(crate) struct NewTransport {
    pub(super) transport: Box<dyn Transport>,
    pub(super) start: BytesMut,
    /// When the other side could begin to send: the time for its hello is counted from there.
    pub(crate) since: Instant,
}

impl NewTransport {
    /// A transport of which `start` was read since it was opened.
    pub(crate) fn with_start(
        transport: Box<dyn Transport>,
        start: BytesMut,
        since: Instant,
    ) -> Self {
        Self {
            transport,
            start,
            since,
        }
    }

    /// The transport, for one who only writes.
    pub(crate) fn into_transport(self) -> Box<dyn Transport> {
        self.transport
    }
}

impl From<Box<dyn Transport>> for NewTransport {
    /// A transport that nobody has read from, opened just now.
    fn from(transport: Box<dyn Transport>) -> Self {
        Self::with_start(transport, BytesMut::new(), clock::now())
    }
}
