//! The transport that a driver starts with.

use std::time::Instant;

use bytes::BytesMut;

use crate::{clock, transport::Transport};

/// A transport, and the bytes that were read from it before there was a driver.
pub(crate) struct NewTransport {
    pub(super) transport: Box<dyn Transport>,
    pub(super) start: BytesMut,
    /// The time from which the other side could send: the timeout of its hello is counted from here.
    pub(crate) since: Instant,
}

impl NewTransport {
    /// A transport of which the bytes in `start` were already read.
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

    /// The transport, for a caller that only writes to it.
    pub(crate) fn into_transport(self) -> Box<dyn Transport> {
        self.transport
    }
}

impl From<Box<dyn Transport>> for NewTransport {
    /// Wraps a transport that was opened just now, and that nobody has read from.
    fn from(transport: Box<dyn Transport>) -> Self {
        Self::with_start(transport, BytesMut::new(), clock::now())
    }
}
