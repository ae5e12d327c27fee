//! The listeners of a server, which its drain can close.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
};

use crate::{
    panic,
    server::new_socket::{NewSocket, Wrap},
    transport::{AcceptedSocket, Listener},
};

/// Accepts at all listeners in turn, so that many connections at one do not hold up the others. Dropping
/// it closes them all.
#[derive(Default)]
pub(crate) struct Listeners {
    places: Vec<ListeningPlace>,
    /// The index of the listener that is polled first the next time: the one after the last that
    /// accepted.
    first: usize,
}

/// A listener, and how to wrap its transports.
pub(crate) struct ListeningPlace {
    pub(crate) listener: Box<dyn Listener>,
    pub(crate) wrap: Option<Wrap>,
    /// Whether it takes TLS only.
    pub(crate) is_tls: bool,
}

impl Listeners {
    pub(crate) fn add(&mut self, place: ListeningPlace) {
        self.places.push(place);
    }

    /// The next connection at any listener.
    pub(crate) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<NewSocket<AcceptedSocket>>> {
        let count = self.places.len();
        for offset in 0..count {
            let index = (self.first + offset) % count;
            let place = &mut self.places[index];
            if let Poll::Ready(accepted) = place.listener.poll_accept(cx) {
                self.first = index + 1;
                let (wrap, is_tls) = (place.wrap.clone(), place.is_tls);
                return Poll::Ready(accepted.map(|socket| NewSocket {
                    socket,
                    wrap,
                    is_tls,
                }));
            }
        }
        Poll::Pending
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listeners at {}", self.places.len())
    }
}

/// Runs the code that opens one connection. It may panic: it calls the closure of `bind_with` and clones
/// a service, which are the user's. The values that a panic leaves broken belong to this connection, and
/// are dropped.
pub(crate) fn caught<T>(open: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|panic| {
        let text = panic::text(panic.as_ref());
        Err(io::Error::other(format!(
            "opening the connection panicked: {text}"
        )))
    })
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::{Listeners, ListeningPlace};
    use crate::transport::{Address, Attempts, Connect, Listen, Memory, SocketOptions};

    const FLOODED: &str = "mem://listeners-flooded";
    const OTHER: &str = "mem://listeners-other";

    #[tokio::test]
    async fn a_flood_at_one_listener_does_not_starve_another() {
        let options = SocketOptions::new();
        let mut listeners = Listeners::default();
        for address in [FLOODED, OTHER] {
            let address: Address = address.parse().unwrap();
            for listener in Memory.listen(&address, &options).await.unwrap() {
                listeners.add(ListeningPlace {
                    listener,
                    wrap: None,
                    is_tls: false,
                });
            }
        }
        let connect = async |address: &str| {
            let address: Address = address.parse().unwrap();
            let mut attempts = Attempts::default();
            Memory
                .connect(&address, &options, &mut attempts)
                .await
                .unwrap()
        };
        let mut clients = Vec::new();
        for address in [FLOODED, FLOODED, FLOODED, OTHER, OTHER] {
            clients.push(connect(address).await);
        }
        let mut order = Vec::new();
        for _ in 0..clients.len() {
            let new = poll_fn(|cx| listeners.poll_accept(cx)).await.unwrap();
            order.push(new.socket.address().to_string());
        }
        assert_eq!(order, [FLOODED, OTHER, FLOODED, OTHER, FLOODED]);
    }
}
