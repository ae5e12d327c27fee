//! Sockets that leave before they have a peer, because the server asks them to.

use wawo_protocol::{CloseCode, ConnectionError, Side};

use crate::{
    connection::DRAINED,
    peer::{ConnectionLimit, PeerEvent, WeakPeer, log_end},
    server::{
        handshake_request::Ask,
        new_socket::NewSocket,
        registry::{MADE_ROOM, SILENT, UNDECIDED},
        state::SocketOrigin,
    },
};

impl SocketOrigin {
    /// Reports that the socket has to leave, in the log and by events. Returns the reason for the other side.
    pub(super) fn report_leave(&self, ask: Ask, has_hello: bool) -> (CloseCode, &'static str) {
        let who = WeakPeer::unconnected(self.from.clone());
        let reason = match ask {
            Ask::Drain => (CloseCode::Normal, DRAINED),
            Ask::MakeRoom => {
                self.state.report_displaced(who.clone());
                (CloseCode::LimitExceeded, MADE_ROOM)
            }
            Ask::CloseIfSilent => {
                self.place.was_silent(&self.from);
                let limit = ConnectionLimit::MaxHandshakes;
                let event = || PeerEvent::Closed(who.clone(), limit);
                self.state.event_sender.send(event);
                let reason = if has_hello { UNDECIDED } else { SILENT };
                (CloseCode::LimitExceeded, reason)
            }
        };
        self.report_end_of(who, ConnectionError::ClosedHere);
        reason
    }

    /// Reports that the socket is over before it had a peer.
    pub(super) fn report_end(&self, error: ConnectionError) {
        let warnings = self.state.event_sender.warnings();
        warnings.connection_over(&self.from, Side::Accepting, &error);
        self.send_end(WeakPeer::unconnected(self.from.clone()), error);
    }

    /// Reports the same of a socket that has a warning of its own.
    pub(super) fn report_known_end(&self, error: ConnectionError) {
        self.report_end_of(WeakPeer::unconnected(self.from.clone()), error);
    }

    fn report_end_of(&self, who: WeakPeer, error: ConnectionError) {
        log_end(&self.from, Side::Accepting, &error);
        self.send_end(who, error);
    }

    fn send_end(&self, who: WeakPeer, error: ConnectionError) {
        let event = || PeerEvent::NotConnected(who, error);
        self.state.event_sender.send(event);
    }

    /// Ends a socket that has to leave, and tells it why if there is a socket to do so.
    pub(super) fn send_away(&self, ask: Ask, socket: Option<NewSocket>) {
        let (code, text) = self.report_leave(ask, false);
        if let Some(socket) = socket {
            self.state.refuse_socket(socket, code, text);
        }
    }
}
