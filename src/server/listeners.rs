//! The listeners of a server, where whoever drains it can close them.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::transport::{Accepted, Address, Listener, Transport};

/// What becomes of each transport that is accepted.
pub(crate) type Wrap = Arc<dyn Fn(Box<dyn Transport>) -> Box<dyn Transport> + Send + Sync>;

/// A connection that was accepted.
pub(crate) struct Arrival {
    pub(crate) accepted: Accepted,
    pub(crate) from: Address,
    pub(crate) wrap: Wrap,
}

/// Accepts at all listeners in turn. Each accept owns its listener while it waits, so nothing but
/// this has to be dropped to close them all.
#[derive(Default)]
pub(crate) struct Listeners {
    accepting: Vec<Accepting>,
    /// Who is asked first the next time, so that no listener is always behind another.
    first: usize,
}

type Accepting = Pin<Box<dyn Future<Output = (Bound, io::Result<Arrival>)> + Send>>;

/// A place where a server listens.
struct Bound {
    listener: Listener,
    wrap: Wrap,
}

impl Bound {
    fn accept(mut self) -> Accepting {
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
        self.accepting.push(Bound { listener, wrap }.accept());
    }

    /// The next connection at any listener.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Arrival>> {
        let count = self.accepting.len();
        for turn in 0..count {
            let index = (self.first + turn) % count;
            let accepting = &mut self.accepting[index];
            if let Poll::Ready((bound, arrival)) = accepting.as_mut().poll(cx) {
                *accepting = bound.accept();
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
