//! The handshake of a socket that speaks wawo's own protocol: the hellos are exchanged before there is a
//! peer, a driver, or an event.
//!
//! ```text
//!  accepted ──► first bytes ──► Waiting ── their hello ──────────────► Done: the answer, a peer, its driver
//!              (only if the      │ │ └──── fault, the end, no time ──► Failed: closed, with the reason
//!              server has        │ └────── silent when it was asked ─► Asked(CloseIfSilent)
//!              other protocols)  └──────── to make room, to drain ───► Asked(..)
//! ```
//!
//! While it waits, it writes nothing: the hello of this side is the answer to that of the other. It is
//! bounded in bytes (a hello has at most 16 KiB, and a read takes at most 1 KiB behind it), in time (the
//! `handshake_timeout`, from accept on) and in number (`max_handshakes`). Calls that have come behind the
//! hello stay unread; they are the first input of the driver.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use wawo_protocol::ConnectionError;

use crate::{
    peer::NewConnection,
    server::handshake_request::{Ask, HandshakeRequest, Progress},
};

/// The handshake of one socket.
pub(crate) struct Handshake {
    connection: NewConnection,
    request: Arc<HandshakeRequest>,
}

impl Handshake {
    pub(crate) fn new(connection: NewConnection, request: Arc<HandshakeRequest>) -> Self {
        Self {
            connection,
            request,
        }
    }

    pub(crate) fn into_connection(self) -> NewConnection {
        self.connection
    }

    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Progress<Result<(), ConnectionError>>> {
        let asked = self.request.poll(cx);
        // The bytes that wait in the transport are read before the request is answered, as this side may
        // have had no time to.
        if let Poll::Ready(result) = self.connection.poll_handshake(cx) {
            return Poll::Ready(Progress::Done(result));
        }
        match asked {
            Some(Ask::CloseIfSilent) if self.connection.has_received() => {
                Poll::Ready(Progress::HasSpoken)
            }
            Some(ask) => Poll::Ready(Progress::Asked(ask)),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
