//! A simulated link: it carries bytes in both directions, delayed, in pieces, and with faults.

mod wire;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    history::History,
    link::wire::{Arrival, Wire},
    plan::{Fault, LinkStyle, Side, Sides},
    random::Random,
};

/// Both directions of a link, to inject faults.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) number: u32,
    /// Whether its connection speaks TLS.
    pub(crate) is_tls: bool,
    /// The direction in which the client writes.
    up: Arc<Wire>,
    /// The direction in which the server writes.
    down: Arc<Wire>,
}

impl Link {
    /// Creates a link; returns it, its client's end, and its server's end.
    pub(crate) fn new(
        number: u32,
        is_tls: bool,
        style: LinkStyle,
        mut random: Random,
        history: &History,
    ) -> (Self, End, End) {
        let (up, down) = (
            Arc::new(Wire::new(style, random.fork())),
            Arc::new(Wire::new(style, random.fork())),
        );
        let end = |side, reads: &Arc<Wire>, writes: &Arc<Wire>| End {
            link: number,
            side,
            reads: reads.clone(),
            writes: writes.clone(),
            arrival: Box::pin(sleep_until(Instant::now())),
            is_vectored: style.vectored,
            reads_done: 0,
            history: history.clone(),
        };
        let here = end(Side::Client, &down, &up);
        let there = end(Side::Server, &up, &down);
        let link = Self {
            number,
            is_tls,
            up,
            down,
        };
        (link, here, there)
    }

    /// Applies a fault to the link.
    pub(crate) fn strike(&self, fault: &Fault) {
        match *fault {
            Fault::Cut { sides, .. } => self.wires(sides).for_each(|wire| wire.cut()),
            Fault::HalfOpen { sides, .. } => self.wires(sides).for_each(|wire| wire.vanish()),
            Fault::Corrupt { sides, .. } => self.wires(sides).for_each(|wire| wire.corrupt()),
            Fault::Stall { sides, time, .. } => {
                let until = Instant::now() + time;
                self.wires(sides).for_each(|wire| wire.hold(until));
            }
            // The hosts apply these faults, not the link.
            Fault::Close { .. } | Fault::Restart { .. } => {}
        }
    }

    fn wires(&self, sides: Sides) -> impl Iterator<Item = &Wire> {
        let both = [(Side::Client, &self.up), (Side::Server, &self.down)];
        let struck = both
            .into_iter()
            .filter(move |(side, _)| sides.contains(*side));
        struck.map(|(_, wire)| &**wire)
    }
}

/// One end of a link: a transport.
#[derive(Debug)]
pub(crate) struct End {
    link: u32,
    side: Side,
    reads: Arc<Wire>,
    writes: Arc<Wire>,
    /// Wakes when the next bytes arrive.
    arrival: Pin<Box<Sleep>>,
    is_vectored: bool,
    /// The number of reads that returned bytes.
    reads_done: u32,
    history: History,
}

/// A bound on reads: two sides that answer each other forever, without delay, would never let the
/// clock advance. No plan needs nearly as many reads.
const MAX_READS: u32 = 2_000_000;

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.reads.read(cx, buffer)? {
                Arrival::Here(_) if self.reads_done == MAX_READS => {
                    return Poll::Ready(Err(io::Error::other("it never comes to rest")));
                }
                Arrival::Here(bytes) => {
                    self.reads_done += 1;
                    self.history.moved(self.link, self.side, bytes);
                    return Poll::Ready(Ok(()));
                }
                Arrival::Unknown => return Poll::Pending,
                Arrival::At(time) => {
                    if self.arrival.deadline() != time {
                        self.arrival.as_mut().reset(time);
                    }
                    if self.arrival.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes.write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.is_vectored
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writes.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.writes.end();
        self.reads.abandon();
    }
}
