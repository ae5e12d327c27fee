//! The settings of a call, which a caller adds before it awaits the call.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;

use crate::{
    call::{Call, Timeout},
    status::{Delivery, Status},
};

impl<R> Call<R> {
    /// Fails the call with `DeadlineExceeded` if it has not ended after this time; a timeout of zero
    /// fails it without sending it. It cannot outlast the deadline of the handler in which it was made.
    /// More than 49 days count as 49 days.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Timeout::After(timeout);
        self
    }

    /// Lets the call last as long as it takes: neither the timeout of its schema nor a default of the
    /// connection ends it. The deadline of the handler in which it was made still does, unless the call
    /// is [`detached`](Self::detached), and so do `max_timeout` and `max_stream_time` of the callee.
    ///
    /// A stream has no deadline by default. A call with one message each way that gets no reply ends with
    /// its connection only.
    pub fn no_timeout(mut self) -> Self {
        self.timeout = Timeout::Never;
        self
    }

    /// With `true`, the call waits, within its deadline, while a peer that
    /// [reconnects](crate::PeerBuilder::reconnect) has no connection; with `false`, it fails at once, as not
    /// sent. If a call waits and a connection ends before it has sent the call, the call is made over the
    /// next one; a call with a stream of requests is not, once a connection has begun to take it.
    ///
    /// Default: as [`ReconnectBuilder::wait_for_ready`](crate::ReconnectBuilder::wait_for_ready) says. It
    /// changes nothing for peers that do not reconnect.
    pub fn wait_for_ready(mut self, wait_for_ready: bool) -> Self {
        self.wait_for_ready = Some(wait_for_ready);
        self
    }

    /// Adds a key and a value to the metadata of the call. If [`Metadata`](crate::Metadata) does not allow them, the call
    /// fails with `InvalidArgument` before it is sent.
    pub fn metadata(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Self {
        if let Err(error) = self.metadata.append(key, value) {
            let status = || Status::from(error).with_delivery(Delivery::NotSent);
            self.refused.get_or_insert_with(status);
        }
        self
    }

    /// Does not inherit the deadline, the cancellation and the trace context of the handler in
    /// which the call is made.
    pub fn detached(mut self) -> Self {
        self.parent = None;
        self
    }
}
