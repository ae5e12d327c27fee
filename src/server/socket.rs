//! Serves a socket whose protocol is not known when it is accepted.

use std::{
    any::Any,
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::Poll,
};

use bytes::BytesMut;
use wawo_protocol::{CloseCode, packet::PREFACE, time::after};

use crate::{
    panic,
    peer::{ConnectionLimit, NewTransport},
    server::{
        arrival::Arrival,
        handshake::{Found, Handshake, Progress},
        handshake_request::{Ask, HandshakeRequest},
        protocol::{Protocol, Protocols},
        registry::{ConnectionPlace, MADE_ROOM},
        replay::Replay,
        state::{FindProtocol, ServerState, SocketOrigin},
    },
    transport::{Address, BoxFuture, Transport},
};

impl FindProtocol for Protocols {
    fn serve(
        self: Arc<Self>,
        origin: SocketOrigin,
        transport: Box<dyn Transport>,
    ) -> BoxFuture<'static, ()> {
        Box::pin(serve(self, origin, transport))
    }
}

/// Finds the protocol of a socket, and serves it until its end.
async fn serve(protocols: Arc<Protocols>, origin: SocketOrigin, transport: Box<dyn Transport>) {
    let request = Arc::new(HandshakeRequest::default());
    if !origin.place.begin_handshake(&request) {
        return origin.state.refuse_draining(|| transport);
    }
    let until = after(origin.since, origin.state.config().handshake_timeout());
    let mut handshake = Handshake::new(transport, protocols, request.clone(), until);
    let found = find(&origin, &mut handshake).await;
    let (transport, start) = handshake.into_parts();
    match found {
        Ok(Found::Other(protocol)) if origin.place.end_handshake() => {
            serve_other(origin, &*protocol, start, transport).await;
        }
        // The server began to drain at this moment, or another connection took the place.
        Ok(Found::Other(_)) => {}
        Ok(Found::Native) => {
            // The server may ask it after its protocol was found, before there is a peer.
            let is_asked = request.take() == Some(Ask::CloseIfSilent);
            let new = NewTransport::with_start(transport, start, origin.since);
            origin.serve_native(new, is_asked).await;
        }
        Err(Ask::CloseIfSilent) => {
            let new = NewTransport::with_start(transport, start, origin.since);
            origin.serve_native(new, true).await;
        }
        Err(ask) => refuse(&origin, ask, transport, &start),
    }
}

/// # Errors
///
/// If the socket has to leave, because the server asked it to.
async fn find(origin: &SocketOrigin, handshake: &mut Handshake) -> Result<Found, Ask> {
    let mut is_fresh = true;
    poll_fn(|cx| {
        loop {
            // A panic in a protocol's `recognise` ends only this socket.
            match catch_unwind(AssertUnwindSafe(|| handshake.poll(cx))) {
                Ok(Poll::Ready(Progress::HasSpoken)) => origin.place.has_spoken(),
                Ok(Poll::Ready(Progress::Found(found))) => return Poll::Ready(Ok(found)),
                Ok(Poll::Ready(Progress::Asked(ask))) => return Poll::Ready(Err(ask)),
                Ok(Poll::Pending) => break,
                Err(panic) => {
                    let part = "recognising a protocol";
                    report_panic(&origin.state, &origin.from, part, panic.as_ref());
                    return Poll::Ready(Ok(Found::Native));
                }
            }
        }
        if std::mem::take(&mut is_fresh) {
            origin.place.is_silent();
        }
        Poll::Pending
    })
    .await
}

async fn serve_other(
    origin: SocketOrigin,
    protocol: &dyn Protocol,
    start: BytesMut,
    transport: Box<dyn Transport>,
) {
    let (state, from) = (origin.state.clone(), origin.from.clone());
    // The socket counts until the protocol's future ends, even if the protocol drops the arrival before.
    let _place: Arc<ConnectionPlace> = origin.place.clone();
    let transport = Box::new(Replay::new(start, transport));
    let begin = || protocol.serve(transport, Arrival::new(origin, protocol.name()));
    let result = match catch_unwind(AssertUnwindSafe(begin)) {
        Ok(serving) => caught(serving).await,
        Err(panic) => Err(panic),
    };
    if let Err(panic) = result {
        let part = format!("the protocol `{}`", protocol.name());
        report_panic(&state, &from, &part, panic.as_ref());
    }
}

/// # Errors
///
/// If the future has panicked.
async fn caught(mut serving: BoxFuture<'static, ()>) -> Result<(), Box<dyn Any + Send>> {
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| serving.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        },
    )
    .await
}

/// Closes a socket whose protocol is not known. It sends the reason if the socket may speak wawo's
/// protocol.
fn refuse(origin: &SocketOrigin, ask: Ask, transport: Box<dyn Transport>, start: &[u8]) {
    let state = &origin.state;
    let is_told = PREFACE.starts_with(start);
    match ask {
        Ask::MakeRoom => {
            state.report_refusal(&origin.from, ConnectionLimit::MaxConnections);
            if is_told {
                let (code, text) = (CloseCode::LimitExceeded, MADE_ROOM.to_owned());
                state.refuse_with(code, text, || transport);
            }
        }
        Ask::Drain if is_told => state.refuse_draining(|| transport),
        Ask::Drain | Ask::CloseIfSilent => {}
    }
}

fn report_panic(state: &ServerState, from: &Address, part: &str, panic: &(dyn Any + Send)) {
    let text = panic::text(panic);
    let error = io::Error::other(format!("{part} panicked: {text}"));
    tracing::error!(%from, %error, "a connection could not be served; others go on");
    state.report_failure(error);
}
