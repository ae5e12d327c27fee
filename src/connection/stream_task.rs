//! Carries the messages of a stream to the driver, in a task of its own.

use std::{future::poll_fn, sync::Arc, task::Poll};

use tokio::task::AbortHandle;
use wawo_protocol::{CallId, packet::BatchBuilder};

use crate::{
    body::SEND_BATCH_BYTES,
    connection::{
        handle::ConnectionHandle,
        mailbox::Command,
        outbox::{Outbox, cost},
    },
    serve::inbound::ExpiringStream,
};

/// A stream that a task carries to the driver. Dropping it ends the task.
#[derive(Debug)]
pub(crate) struct StreamTask {
    pub(crate) outbox: Arc<Outbox>,
    task: AbortHandle,
}

impl StreamTask {
    /// Spawns the task, in the runtime of the driver.
    pub(crate) fn new(
        call: CallId,
        messages: ExpiringStream,
        connection: Arc<ConnectionHandle>,
    ) -> Self {
        let outbox = Outbox::new(call, connection.outbox_total().clone());
        let task = tokio::spawn(pump(messages, outbox.clone(), connection));
        Self {
            outbox,
            task: task.abort_handle(),
        }
    }
}

impl Drop for StreamTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries a stream to the driver, as fast as the driver takes it. The driver aborts the task when the
/// call is over. If the stream panics, it ends with a status.
async fn pump(
    mut messages: ExpiringStream,
    outbox: Arc<Outbox>,
    connection: Arc<ConnectionHandle>,
) {
    let mut packets = BatchBuilder::new(outbox.call());
    let end = loop {
        poll_fn(|cx| outbox.poll_room(cx)).await;
        let polled = poll_fn(|cx| {
            let polled = messages.fill_batch(cx, &mut packets);
            // Messages that are ready leave now; they do not wait for more.
            match polled.is_pending() && packets.messages() == 0 {
                true => Poll::Pending,
                false => Poll::Ready(polled),
            }
        });
        let polled = polled.await;
        let is_slow = polled.is_ready() && packets.packet_bytes() < SEND_BATCH_BYTES;
        if packets.messages() > 0 {
            let messages = packets.take();
            outbox.hold(cost(messages.len(), messages.message_bytes()));
            let command = Command::Messages(outbox.clone(), messages);
            connection.mailbox().push_end(command);
        }
        if let Poll::Ready(Some(end)) = polled {
            break end;
        }
        if is_slow {
            // A stream that is always ready, and whose items cost time, must let other tasks run.
            tokio::task::yield_now().await;
        }
    };
    let end = end.map(|()| messages.take_trailing_metadata());
    connection.mailbox().push_end(Command::Finish(outbox, end));
}
