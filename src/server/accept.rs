//! The loop that accepts connections.

use std::{convert::Infallible, future::poll_fn, io, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::runtime::Handle;
use wawo_protocol::CloseCode;

use crate::{
    clock,
    connection::DRAINED,
    peer::{ConnectionLimit, NATIVE_PROTOCOL, PeerEvent, WeakPeer},
    server::{
        ServeError,
        host::Newcomer,
        listeners::caught,
        new_socket::NewSocket,
        proxied, refuse,
        registry::{AdmissionError, ConnectionPlace, Displacement},
        serve_socket,
        state::{ServerState, SocketOrigin},
        workers::WorkerSlot,
    },
    transport::{AcceptedSocket, Address, Transport},
};

/// The first pause after an error that further connections would meet too, such as too many open files.
/// Each such error in a row doubles the pause.
const MIN_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause between two attempts to accept.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The next pause, if the attempt after this one fails too.
fn longer(pause: Duration) -> Duration {
    (2 * pause).min(MAX_PAUSE)
}

impl ServerState {
    /// Accepts connections for ever. An error, or a panic, of one connection never ends it.
    pub(crate) async fn accept_all(self: &Arc<Self>) -> Infallible {
        let mut pause = MIN_PAUSE;
        loop {
            // New connections wait in the backlog while those that are here wait for their first poll.
            // Otherwise each accepted connection would make them wait longer.
            self.registry.wait_for_first_polls().await;
            match poll_fn(|cx| self.poll_accept(cx)).await {
                Ok(new) => {
                    pause = MIN_PAUSE;
                    self.admit(new);
                }
                Err(error) if ends_one_connection(&error) => self.report_failure(error),
                Err(error) => {
                    tracing::warn!(target: "wawo::server", %error, ?pause, "cannot accept connections; will try again");
                    self.report_failure(error);
                    tokio::time::sleep(pause).await;
                    pause = longer(pause);
                }
            }
        }
    }

    /// Serves a connection, if the limits allow it.
    fn admit(self: &Arc<Self>, new: NewSocket<AcceptedSocket>) {
        let newcomer = self.newcomer(new.socket.address());
        match self.registry.admit(newcomer) {
            Ok((place, displaced)) => {
                self.report_displacement(displaced);
                self.begin(place, new);
            }
            Err(AdmissionError::Full(limit)) => self.refuse(new, limit),
            // The server drains, and this loop is about to end.
            Err(AdmissionError::Closed) => {
                self.refuse_socket(new.into_opened(), CloseCode::Normal, DRAINED)
            }
        }
    }

    fn begin(self: &Arc<Self>, place: ConnectionPlace, new: NewSocket<AcceptedSocket>) {
        let from = new.socket.address().clone();
        let seat = self.seat();
        let begun = caught(|| {
            let runtime = seat.as_ref().map(|seat| seat.runtime().clone());
            let there = runtime.as_ref().map(Handle::enter);
            let new = match there.is_some() {
                true => new.moved_here()?,
                false => new,
            };
            let from = new.socket.address().clone();
            let socket = new.into_opened();
            let socket = match self.is_proxied(&from) {
                true => socket,
                false => socket.wrapped(),
            };
            drop(there);
            match self.serve_accepted(place, socket, from, seat) {
                Ok(()) | Err(ServeError::Draining) => Ok(()),
                Err(error) => Err(io::Error::other(error)),
            }
        });
        if let Err(error) = begun {
            self.report_unserved(&from, error);
        }
    }

    /// The host of a new connection, as far as it is known.
    fn newcomer(&self, from: &Address) -> Newcomer {
        match self.is_proxied(from) {
            true => Newcomer::Proxied,
            false => self.trusted.host_of(from).into(),
        }
    }

    /// Serves a transport that other code has accepted, in the current runtime, if the limits allow it.
    ///
    /// # Errors
    ///
    /// If the limits refuse it, or the server takes no more connections.
    pub(super) fn accept_from(
        self: &Arc<Self>,
        transport: Box<dyn Transport>,
        from: Address,
    ) -> Result<(), ServeError> {
        let (socket, from) = self.new_socket(transport, from)?;
        match self.registry.admit(self.newcomer(&from)) {
            Ok((place, displaced)) => {
                self.report_displacement(displaced);
                self.serve_accepted(place, socket, from, None)
            }
            Err(AdmissionError::Full(limit)) => {
                self.report_refusal(&from, limit);
                let text = refuse::text(limit, &self.registry.limits());
                self.refuse_socket(socket, CloseCode::LimitExceeded, &text);
                Err(ServeError::Refused(limit))
            }
            Err(AdmissionError::Closed) => {
                self.refuse_socket(socket, CloseCode::Normal, DRAINED);
                Err(ServeError::Draining)
            }
        }
    }

    /// The socket of a transport that has this address, and the address without TLS.
    ///
    /// # Errors
    ///
    /// If the address is of TLS, and the server has no certificate.
    fn new_socket(
        &self,
        transport: Box<dyn Transport>,
        from: Address,
    ) -> Result<(NewSocket, Address), ServeError> {
        let mut socket = NewSocket::from(transport);
        let Address::Tls(below) = from else {
            return Ok((socket, from));
        };
        self.check_tls(&below)?;
        socket.is_tls = true;
        Ok((socket, *below))
    }

    /// Begins the handshake of a socket, in the task that goes on to serve it.
    ///
    /// # Errors
    ///
    /// If the server takes no more connections.
    fn serve_accepted(
        self: &Arc<Self>,
        place: ConnectionPlace,
        socket: NewSocket,
        from: Address,
        seat: Option<WorkerSlot>,
    ) -> Result<(), ServeError> {
        let is_proxied = self.is_proxied(&from);
        let there = self.runtime_of(seat.as_ref());
        let origin = self.origin(place, from, seat);
        let request = match origin.begin_handshake() {
            Ok(request) => request,
            Err(ask) => {
                origin.send_away(ask, Some(socket));
                return Err(ServeError::Draining);
            }
        };
        let _there = there.enter();
        let slot = origin.place.task();
        let task = match is_proxied {
            true => tokio::spawn(proxied::serve(origin, request, socket)),
            false => serve_socket::spawn(origin, request, socket).ok_or(ServeError::Draining)?,
        };
        slot.fill(task.abort_handle());
        Ok(())
    }

    fn origin(
        self: &Arc<Self>,
        place: ConnectionPlace,
        from: Address,
        seat: Option<WorkerSlot>,
    ) -> SocketOrigin {
        SocketOrigin {
            state: self.clone(),
            place: Arc::new(place),
            from,
            since: clock::now(),
            is_inside: false,
            protocol: NATIVE_PROTOCOL.into(),
            seat,
        }
    }

    /// Refuses a connection, and tells it why.
    fn refuse(&self, new: NewSocket<AcceptedSocket>, limit: ConnectionLimit) {
        let text = refuse::text(limit, &self.registry.limits());
        self.report_refusal(new.socket.address(), limit);
        self.refuse_socket(new.into_opened(), CloseCode::LimitExceeded, &text);
    }

    /// Tells a socket that is not served why.
    pub(super) fn refuse_socket(&self, socket: NewSocket, code: CloseCode, text: &str) {
        let reason = refuse::close_packet(socket.is_tls, code, text);
        self.refuse_with(reason, || socket.into_transport());
    }

    /// Tells a connection that came just when the server began to drain to connect elsewhere.
    pub(super) fn refuse_draining(&self, open: impl FnOnce() -> Box<dyn Transport>) {
        self.refuse_with(
            refuse::close_packet(false, CloseCode::Normal, DRAINED),
            open,
        );
    }

    pub(super) fn report_refusal(&self, from: &Address, limit: ConnectionLimit) {
        let why = refuse::text(limit, &self.registry.limits());
        let address = from.clone();
        self.refused.add(move |count| {
            tracing::warn!(target: "wawo::server", from = %address, count, %limit, error = why, "connections were refused");
        });
        let from = from.clone();
        self.event_sender.send(|| PeerEvent::Refused(from, limit));
    }

    /// Sends the last bytes of this side in a task of its own, while the socket has no place any more. Sockets
    /// beyond the number that may be told why are closed without them.
    pub(super) fn refuse_with(&self, reason: BytesMut, open: impl FnOnce() -> Box<dyn Transport>) {
        let Some(refused) = self.registry.refuse() else {
            return;
        };
        match caught(|| Ok(open())) {
            Ok(transport) => {
                drop(tokio::spawn(refuse::send_reason(
                    transport, reason, refused,
                )));
            }
            Err(error) => {
                tracing::error!(target: "wawo::server", %error, "a connection was refused without a word")
            }
        }
    }

    fn report_displacement(&self, displaced: Displacement) {
        if let Some(peer) = displaced.makes_room {
            self.report_displaced(peer);
        }
    }

    /// Reports that a connection is closed to make room for another.
    pub(super) fn report_displaced(&self, peer: WeakPeer) {
        let host = peer.address().cloned();
        let limit = ConnectionLimit::MaxConnections;
        self.displaced.add(move |count| {
            let from = host.as_ref().map(tracing::field::display);
            tracing::warn!(
                target: "wawo::server",
                from,
                count,
                %limit,
                "connections of hosts with more than their share made room for others"
            );
        });
        self.event_sender.send(|| PeerEvent::Closed(peer, limit));
    }

    /// Reports that one connection could not be served.
    pub(super) fn report_unserved(&self, from: &Address, error: io::Error) {
        tracing::error!(target: "wawo::server", %from, %error, "a connection could not be served; others go on");
        self.report_failure(error);
    }

    pub(super) fn report_failure(&self, error: io::Error) {
        let event = || PeerEvent::AcceptFailed(Arc::new(error));
        self.event_sender.send(event);
    }
}

/// Whether an error is about the connection that was to be accepted, and not about the listener.
fn ends_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, iter::successors, sync::Arc};

    use tokio::io::AsyncReadExt;

    use super::{DRAINED, MAX_PAUSE, MIN_PAUSE, ServerState, longer};
    use crate::{
        server::Server,
        transport::{Attempts, Connect, Memory, SocketOptions},
    };

    /// The connection was accepted just before the server stopped accepting, or closed its registry.
    #[tokio::test]
    async fn a_connection_that_comes_just_when_a_drain_begins_is_told() {
        let begins: [fn(&Arc<ServerState>); 2] = [
            |shared| shared.stop_accepting(),
            |shared| drop(shared.registry.close()),
        ];
        for begin in begins {
            let address = "mem://accept-late";
            let mut server = Server::builder().build().unwrap();
            server.bind(address).await.unwrap();
            let (options, mut attempts) = (SocketOptions::new(), Attempts::default());
            let address = address.parse().unwrap();
            let client = Memory.connect(&address, &options, &mut attempts).await;
            let new = poll_fn(|cx| server.shared.poll_accept(cx)).await;
            begin(&server.shared);
            server.shared.admit(new.unwrap());
            let mut heard = vec![0; 24];
            client.unwrap().read_exact(&mut heard).await.unwrap();
            assert!(heard.starts_with(b"WAWO"), "{heard:?}");
            assert!(heard.ends_with(&DRAINED.as_bytes()[..4]), "{heard:?}");
        }
    }

    #[test]
    fn pauses_grow_to_the_longest() {
        let mut pauses = successors(Some(MIN_PAUSE), |&pause| Some(longer(pause)));
        assert_eq!(pauses.nth(1), Some(2 * MIN_PAUSE));
        assert_eq!(pauses.nth(100), Some(MAX_PAUSE));
    }
}
