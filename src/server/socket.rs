//! Serves a socket whose protocol is not known when it is accepted.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::Poll,
};

use wawo_protocol::{packet::PREFACE, time::after};

use crate::{
    panic,
    panic_fence::PanicFence,
    peer::NewTransport,
    server::{
        arrival::Arrival,
        first_bytes::{FirstBytes, Found},
        handshake_request::{Ask, HandshakeRequest, Progress},
        handshake_run::run,
        protocol::{Protocol, Protocols},
        registry::ConnectionPlace,
        serve_socket,
        state::{FindProtocol, ServerState, SocketOrigin},
        workers::WorkerSlot,
    },
    transport::{Address, BoxFuture, Replay, Transport, TransportWithFacts},
};

impl FindProtocol for Protocols {
    fn serve(
        self: Arc<Self>,
        origin: SocketOrigin,
        request: Arc<HandshakeRequest>,
        transport: Box<dyn Transport>,
    ) -> BoxFuture<'static, ()> {
        Box::pin(serve(self, origin, request, transport))
    }
}

/// Finds the protocol of a socket, and serves it until its end.
async fn serve(
    protocols: Arc<Protocols>,
    origin: SocketOrigin,
    request: Arc<HandshakeRequest>,
    transport: Box<dyn Transport>,
) {
    let until = after(origin.since, origin.state.config().handshake_timeout());
    let mut first_bytes = FirstBytes::new(transport, protocols.clone(), request.clone(), until);
    let found = find(&origin, &mut first_bytes).await;
    let new = first_bytes.into_transport();
    match found {
        Ok(Found::Other(protocol)) => match origin.place.end_handshake() {
            Ok(()) => serve_other(origin, &*protocol, protocols, new).await,
            // The server asked at this moment.
            Err(ask) => refuse(&origin, ask, new),
        },
        Ok(Found::Native) => serve_native(origin, request, new).await,
        Err(Ask::CloseIfSilent) => {
            // Its handshake closes it, with a reason if it may speak wawo's protocol.
            request.ask(Ask::CloseIfSilent);
            serve_native(origin, request, new).await;
        }
        Err(ask) => refuse(&origin, ask, new),
    }
}

/// # Errors
///
/// If the socket has to leave, because the server asked it to.
async fn find(origin: &SocketOrigin, first_bytes: &mut FirstBytes) -> Result<Found, Ask> {
    run(&origin.place, |cx| {
        // A panic in a protocol's `recognise` ends only this socket.
        let polled = catch_unwind(AssertUnwindSafe(|| first_bytes.poll(cx)));
        polled.unwrap_or_else(|panic| {
            let part = "recognising a protocol";
            report_panic(&origin.state, &origin.from, part, panic.as_ref());
            Poll::Ready(Progress::Done(Found::Native))
        })
    })
    .await
}

async fn serve_native(origin: SocketOrigin, request: Arc<HandshakeRequest>, new: NewTransport) {
    if let Some(serving) = serve_socket::serve_native(origin, request, new) {
        serving.await;
    }
}

async fn serve_other(
    mut origin: SocketOrigin,
    protocol: &dyn Protocol,
    protocols: Arc<Protocols>,
    new: NewTransport,
) {
    let (state, from) = (origin.state.clone(), origin.from.clone());
    // The socket counts until the protocol's future ends, even if the protocol drops the arrival before.
    let _counted: (Arc<ConnectionPlace>, Option<WorkerSlot>) =
        (origin.place.clone(), origin.seat.take());
    let replay = Replay::new(new.start, new.transport);
    let facts = replay.facts();
    let transport: Box<dyn Transport> = match facts.is_empty() {
        true => Box::new(replay),
        false => Box::new(TransportWithFacts::new(replay, facts)),
    };
    let begin = || protocol.serve(transport, Arrival::new(origin, protocols, protocol.name()));
    let result = match PanicFence::new(begin) {
        Ok(serving) => serving.await,
        Err(panic) => Err(panic),
    };
    if let Err(panic) = result {
        let part = format!("the protocol `{}`", protocol.name());
        report_panic(&state, &from, &part, panic.as_ref());
    }
}

/// Closes a socket whose protocol is not known. It sends the reason if the socket may speak wawo's
/// protocol.
fn refuse(origin: &SocketOrigin, ask: Ask, new: NewTransport) {
    let transport = PREFACE.starts_with(&new.start).then_some(new.transport);
    origin.send_away(ask, transport.map(Into::into));
}

fn report_panic(state: &ServerState, from: &Address, part: &str, panic: &(dyn Any + Send)) {
    let text = panic::text(panic);
    let error = io::Error::other(format!("{part} panicked: {text}"));
    state.report_unserved(from, error);
}
