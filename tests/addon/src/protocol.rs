//! Recognises the sockets that speak lines, and makes a guest of each.
//!
//! A server that has the protocol shares all its ports with it. The server looks at the first bytes of
//! each socket, within its own limits on bytes, time and number, so a caller that does not say its name
//! costs no more than any other socket without a hello.

use futures::StreamExt as _;
use tokio_util::codec::LinesCodecError;
use wawo::{Arrival, Guest, Protocol, Recognition, Transport, transport::BoxFuture};

use crate::{line::CallerLine, session::Session, socket::Socket};

/// Serves calls that come by lines: give it to [`ServerBuilder::protocol`](wawo::ServerBuilder::protocol).
///
/// Each socket is a [`Peer`](wawo::Peer) that cannot be called. Its name is its
/// [`claimed_name`](wawo::Peer::claimed_name), and it has a [`User`].
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct LineProtocol;

/// The user behind a peer, in its [extensions](wawo::Peer::extensions). Lines take callers at their word;
/// a protocol with passwords or certificates would check them before it makes one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_structs, reason = "a name and nothing else")]
pub struct User(pub String);

/// How the first line begins.
const HELLO: &[u8] = b"i am ";

impl Protocol for LineProtocol {
    fn name(&self) -> &str {
        "lines"
    }

    /// Not before the first line is whole: the server waits for it, and bounds the wait.
    fn recognise(&self, start: &[u8]) -> Recognition {
        match start.strip_prefix(HELLO) {
            Some(rest) if rest.contains(&b'\n') => Recognition::Yes,
            Some(_) => Recognition::Perhaps,
            None if HELLO.starts_with(start) => Recognition::Perhaps,
            None => Recognition::No,
        }
    }

    fn serve(&self, transport: Box<dyn Transport>, arrival: Arrival) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut socket = Socket::over(transport);
            let first = socket.reads.next().await;
            // If the server drains already, the socket is closed without a word.
            if let Some(guest) = welcome(first, &arrival) {
                Session::new(socket, arrival.gateway(), guest).run().await;
            }
        })
    }
}

/// The guest of a socket that begins with this line.
fn welcome(first: Option<Result<String, LinesCodecError>>, arrival: &Arrival) -> Option<Guest> {
    let Some(CallerLine::Hello(name)) = CallerLine::parse(&first?.ok()?) else {
        return None;
    };
    let guest = arrival.gateway().guest();
    let guest = guest.address(arrival.address().clone());
    let guest = guest.claimed_name(&name).extension(User(name));
    guest.build().ok()
}
