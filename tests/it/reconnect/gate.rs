//! A connector whose connections a test opens, refuses, holds up and cuts.

use std::{
    future::{Future, pending, poll_fn},
    io,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
};

use tokio::{
    io::{copy_bidirectional, duplex},
    task::AbortHandle,
};
use wawo::{
    Address, Config, Peer, PeerBuilder, Server, SocketOptions, Transport,
    transport::{Attempts, BoxFuture, Connect},
};

use crate::support::{EchoServer, Parrot, Seen};

/// The way in which the gate treats a dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Open,
    Refuse,
    Hold,
}

/// A way to a server, under the scheme `gate`.
#[derive(Clone)]
pub(super) struct Gate(Arc<GateState>);

struct GateState {
    mode: Mutex<Mode>,
    dials: AtomicUsize,
    server: Mutex<Server>,
    /// The server's peers, the newest last.
    peers: Mutex<Vec<Peer>>,
    /// The tasks that carry the bytes of the connections.
    carriers: Mutex<Vec<AbortHandle>>,
    stalls: Mutex<Vec<Arc<AtomicBool>>>,
    seen: Arc<Seen>,
}

impl Gate {
    /// An open gate to a parrot.
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    /// An open gate to a parrot whose server has this configuration.
    pub(super) fn with(config: Config) -> Self {
        let parrot = Parrot::default();
        let seen = parrot.0.clone();
        let server = Server::builder()
            .config(config)
            .add_service(EchoServer::new(parrot));
        Self(Arc::new(GateState {
            mode: Mutex::new(Mode::Open),
            dials: AtomicUsize::new(0),
            server: Mutex::new(server.build().unwrap()),
            peers: Mutex::default(),
            carriers: Mutex::default(),
            stalls: Mutex::default(),
            seen,
        }))
    }

    /// A builder of peers behind the gate, which serve a parrot.
    pub(super) fn builder(&self) -> PeerBuilder {
        let builder = Peer::builder("gate://home").connector(self.clone());
        builder.add_service(EchoServer::new(Parrot::default()))
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.0.mode.lock().unwrap() = mode;
    }

    /// Carries no more bytes of the connections that there are, and keeps them.
    pub(super) fn stall(&self) {
        let stalls = self.0.stalls.lock().unwrap();
        stalls
            .iter()
            .for_each(|stall| stall.store(true, Ordering::SeqCst));
    }

    /// Cuts all connections.
    pub(super) fn cut(&self) {
        let carriers = std::mem::take(&mut *self.0.carriers.lock().unwrap());
        carriers.iter().for_each(AbortHandle::abort);
    }

    pub(super) fn dials(&self) -> usize {
        self.0.dials.load(Ordering::SeqCst)
    }

    /// How many connections the server has accepted.
    pub(super) fn connections(&self) -> usize {
        self.0.peers.lock().unwrap().len()
    }

    /// The newest peer of the server.
    pub(super) fn peer(&self) -> Peer {
        self.0.peers.lock().unwrap().last().unwrap().clone()
    }

    /// The record of the server's service.
    pub(super) fn seen(&self) -> &Seen {
        &self.0.seen
    }

    fn open(&self) -> Box<dyn Transport> {
        let (here, mut from) = duplex(64 * 1024);
        let (mut to, there) = duplex(64 * 1024);
        let stall = Arc::new(AtomicBool::new(false));
        self.0.stalls.lock().unwrap().push(stall.clone());
        let carrier = tokio::spawn(async move {
            let mut copy = pin!(copy_bidirectional(&mut from, &mut to));
            let _ = poll_fn(|cx| match stall.load(Ordering::SeqCst) {
                true => Poll::Pending,
                false => copy.as_mut().poll(cx),
            })
            .await;
        });
        self.0.carriers.lock().unwrap().push(carrier.abort_handle());
        let peer = self.0.server.lock().unwrap().accept_over(there).unwrap();
        self.0.peers.lock().unwrap().push(peer);
        Box::new(here)
    }
}

impl Connect for Gate {
    fn scheme(&self) -> &str {
        "gate"
    }

    fn connect<'a>(
        &'a self,
        _: &'a Address,
        _: &'a SocketOptions,
        _: &'a mut Attempts,
    ) -> BoxFuture<'a, io::Result<Box<dyn Transport>>> {
        Box::pin(async move {
            self.0.dials.fetch_add(1, Ordering::SeqCst);
            let mode = *self.0.mode.lock().unwrap();
            match mode {
                Mode::Open => Ok(self.open()),
                Mode::Refuse => Err(io::ErrorKind::ConnectionRefused.into()),
                Mode::Hold => pending().await,
            }
        })
    }
}
