//! The listeners of a server, where whoever drains it can close them.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::transport::{AcceptedSocket, Address, Listener, Transport};

/// Makes of each transport that is accepted the one that is served.
pub(crate) type Wrap = Arc<dyn Fn(Box<dyn Transport>) -> Box<dyn Transport> + Send + Sync>;

/// A connection that was accepted.
pub(crate) struct Arrival {
    pub(crate) accepted: AcceptedSocket,
    pub(crate) from: Address,
    pub(crate) wrap: Wrap,
}

/// Accepts at all listeners in turn: connections that pour in at one do not starve the others. Each accept owns its listener while it waits, so nothing but
/// this has to be dropped to close them all.
#[derive(Default)]
pub(crate) struct Listeners {
    accepting: Vec<AcceptFuture>,
    /// Index of the listener that is asked first the next time: the one behind the last that had a
    /// connection.
    first: usize,
}

type AcceptFuture = Pin<Box<dyn Future<Output = (ListenerTask, io::Result<Arrival>)> + Send>>;

/// A place where a server listens.
struct ListenerTask {
    listener: Listener,
    wrap: Wrap,
}

impl ListenerTask {
    fn accept(mut self) -> AcceptFuture {
        Box::pin(async move {
            let accepted = self.listener.accept().await;
            let arrival = accepted.map(|(accepted, from)| Arrival {
                accepted,
                from,
                wrap: self.wrap.clone(),
            });
            (self, arrival)
        })
    }
}

impl Listeners {
    pub(crate) fn add(&mut self, listener: Listener, wrap: Wrap) {
        self.accepting
            .push(ListenerTask { listener, wrap }.accept());
    }

    /// The next connection at any listener.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Arrival>> {
        let count = self.accepting.len();
        for offset in 0..count {
            let index = (self.first + offset) % count;
            let accepting = &mut self.accepting[index];
            if let Poll::Ready((task, arrival)) = accepting.as_mut().poll(cx) {
                *accepting = task.accept();
                self.first = index + 1;
                return Poll::Ready(arrival);
            }
        }
        Poll::Pending
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listeners at {}", self.accepting.len())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc};

    use super::Listeners;
    use crate::transport::{self, Address, Attempts, Listener, SocketOptions};

    const FLOODED: &str = "mem://listeners-flooded";
    const OTHER: &str = "mem://listeners-other";

    #[tokio::test]
    async fn a_flood_at_one_listener_does_not_starve_another() {
        let options = SocketOptions::new();
        let mut listeners = Listeners::default();
        for address in [FLOODED, OTHER] {
            let address: Address = address.parse().unwrap();
            for listener in Listener::bind(&address, &options).await.unwrap() {
                listeners.add(listener, Arc::new(|transport| transport));
            }
        }
        let connect = async |address: &str| {
            let address: Address = address.parse().unwrap();
            let mut attempts = Attempts::default();
            transport::connect(&address, &options, &mut attempts)
                .await
                .unwrap()
        };
        let mut clients = Vec::new();
        for address in [FLOODED, FLOODED, FLOODED, OTHER, OTHER] {
            clients.push(connect(address).await);
        }
        let mut order = Vec::new();
        for _ in 0..clients.len() {
            let arrival = poll_fn(|cx| listeners.poll_accept(cx)).await.unwrap();
            order.push(arrival.from.to_string());
        }
        assert_eq!(order, [FLOODED, OTHER, FLOODED, OTHER, FLOODED]);
    }
}
