//! Serves a socket that speaks wawo's own protocol: its handshake, and then its connection.

use std::sync::Arc;

use wawo_protocol::ConnectionError;

use crate::{
    peer::{NewConnection, NewTransport},
    server::{
        connection_task::{HandshakeEnd, SocketTask},
        handshake::Handshake,
        handshake_request::{Ask, HandshakeRequest},
        handshake_run::run,
        open_parts::ConnectionParts,
        refuse,
        state::SocketOrigin,
    },
    transport::BoxFuture,
};

/// Serves a socket until its end.
pub(crate) fn serve(
    origin: SocketOrigin,
    request: Arc<HandshakeRequest>,
    parts: ConnectionParts,
    new: NewTransport,
) -> impl Future<Output = ()> + Send + use<> {
    let (config, since) = (parts.config.clone(), origin.since);
    let check = origin.hello_check();
    let new = NewConnection::accepting(new, config, since).checked_by(check);
    let handshake = Handshake::new(new, request);
    SocketTask::new(shake_hands(origin, parts, handshake))
}

/// The future has one wait only, so that it keeps the connection once and fits into the room that the task
/// has for the driver.
#[allow(
    clippy::manual_async_fn,
    reason = "the future of an async fn has room for its arguments twice"
)]
fn shake_hands(
    origin: SocketOrigin,
    parts: ConnectionParts,
    mut handshake: Handshake,
) -> impl Future<Output = HandshakeEnd<impl Future<Output = ()> + use<>>> + use<> {
    async move {
        let result = run(&origin.place, |cx| handshake.poll(cx)).await;
        finish(origin, parts, handshake.into_connection(), result)
    }
}

/// Opens the connection, or ends it.
fn finish(
    mut origin: SocketOrigin,
    parts: ConnectionParts,
    new: NewConnection,
    result: Result<Result<(), ConnectionError>, Ask>,
) -> HandshakeEnd<impl Future<Output = ()> + use<>> {
    let ending = match result {
        Ok(Ok(())) => {
            let (place, from) = (origin.place.clone(), Some(origin.from.clone()));
            let seat = origin.seat.take();
            let opened = origin.state.open_connection(place, parts, new, from, seat);
            match opened {
                Ok(connection) => return HandshakeEnd::Opened(connection),
                Err((new, ask)) => leave(origin, *new, ask),
            }
        }
        Ok(Err(error)) => {
            origin.place.was_refused(Some(&origin.from), &error);
            match new.begins_tls() {
                true => origin.report_known_end(error.clone()),
                false => origin.report_end(error.clone()),
            }
            end(origin, new, error)
        }
        Err(ask) => leave(origin, new, ask),
    };
    HandshakeEnd::Failed(ending)
}

/// Ends a connection that has to leave before it has a peer.
fn leave(origin: SocketOrigin, mut new: NewConnection, ask: Ask) -> BoxFuture<'static, ()> {
    let (code, reason) = origin.report_leave(ask, new.has_hello());
    new.close(code, reason);
    end(origin, new, ConnectionError::ClosedHere)
}

/// Sends the close packet of a connection that had no peer. Boxed, so that handshakes have no room for it.
fn end(
    origin: SocketOrigin,
    mut new: NewConnection,
    error: ConnectionError,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        match error.close_packet() {
            Some((code, text)) if new.begins_tls() => {
                report_tls(&origin);
                let reason = refuse::close_packet(true, code, &text);
                origin.state.refuse_with(reason, || new.into_transport());
            }
            _ => new.end(&error).await,
        }
        // A socket of our protocol counts until it is closed.
        drop(origin);
    })
}

fn report_tls(origin: &SocketOrigin) {
    let from = origin.from.clone();
    origin.state.tls_failures.add(move |count| {
        tracing::warn!(
            target: "wawo::tls",
            %from,
            count,
            "clients speak TLS at an address without TLS: listen at tls://, or let them use tcp://"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::{serve, shake_hands};

    fn size_of_handshake<A, B, C, F>(_: impl FnOnce(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    fn size_of_task<A, B, C, D, F>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_handshake_takes_no_more_room_than_a_driver() {
        assert!(size_of_handshake(shake_hands) < size_of_task(serve));
    }
}
