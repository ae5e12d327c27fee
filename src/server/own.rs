//! Serves a transport that the program itself has opened: there is a peer at once, and one task that does
//! the handshake and then drives the connection.

use std::{future::poll_fn, sync::Arc};

use wawo_protocol::ConnectionError;

use crate::{
    peer::{EarlyPeer, NewConnection},
    server::{
        connection_task::{ConnectionTask, HandshakeEnd, SocketTask},
        registry::ConnectionPlace,
    },
};

/// Serves the transport until its end.
pub(crate) fn serve(
    new: NewConnection,
    peer: EarlyPeer,
    place: ConnectionPlace,
) -> impl Future<Output = ()> + Send + use<> {
    SocketTask::new(shake_hands(new, peer, place))
}

async fn shake_hands(
    mut new: NewConnection,
    mut peer: EarlyPeer,
    place: ConnectionPlace,
) -> HandshakeEnd<impl Future<Output = ()>> {
    let result = poll_fn(|cx| peer.poll_handshake(&mut new, cx)).await;
    match result {
        Ok(()) => {
            let (peer, driver) = peer.drive(new);
            HandshakeEnd::Opened(ConnectionTask::new(driver, peer, Arc::new(place), None))
        }
        Err(error) => HandshakeEnd::Failed(Box::pin(end(new, peer, place, error))),
    }
}

async fn end(
    mut new: NewConnection,
    peer: EarlyPeer,
    place: ConnectionPlace,
    error: ConnectionError,
) {
    place.was_refused(None, &error);
    peer.end(&error);
    new.end(&error).await;
    // The socket counts until it is closed.
    drop(place);
}
