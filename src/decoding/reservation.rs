//! The counters of the memory that decoded messages take, and what is reserved of them.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use wawo_protocol::Config;

use crate::status::{Result, Status};

/// The memory that decoded messages of the other side take, for one connection.
#[derive(Debug)]
pub(crate) struct DecodedBytes {
    max_message: usize,
    sum: DecodedTotal,
    server: Option<Arc<DecodedTotal>>,
}

/// A counter of reserved bytes, with a limit.
#[derive(Debug)]
pub(crate) struct DecodedTotal {
    held: AtomicUsize,
    max: usize,
}

/// The setting that bounds the total of a connection.
const CONNECTION: &str = "max_connection_decoded_bytes";

/// The setting that bounds the total of a server.
const SERVER: &str = "max_server_decoded_bytes";

impl DecodedTotal {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            held: AtomicUsize::new(0),
            max,
        }
    }

    /// # Errors
    ///
    /// If that is more than fits; names the setting.
    fn take(&self, bytes: usize, setting: &'static str) -> Result<()> {
        let more = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= self.max);
        let ordering = Ordering::Relaxed;
        let taken = self.held.fetch_update(ordering, ordering, more);
        taken
            .map(drop)
            .map_err(|held| self.full(held, bytes, setting))
    }

    /// Counts memory that is in use already, even beyond the limit.
    fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cold]
    fn full(&self, held: usize, bytes: usize, setting: &'static str) -> Status {
        let max = self.max;
        let text = format!(
            "a message of {bytes} bytes when decoded, beside {held} of requests that are worked on; \
             the callee takes at most {max} in all ({setting})"
        );
        Status::resource_exhausted(text).with_limit(setting)
    }
}

impl DecodedBytes {
    /// The counter of a connection with this configuration. `server` is that of its server, if it has
    /// one.
    pub(crate) fn new(config: &Config, server: Option<Arc<DecodedTotal>>) -> Arc<Self> {
        Arc::new(Self {
            max_message: config.max_decoded_bytes(),
            sum: DecodedTotal::new(config.max_connection_decoded_bytes()),
            server,
        })
    }

    /// How many bytes a decoded message may take.
    pub(crate) fn max_message(&self) -> usize {
        self.max_message
    }

    /// How many bytes are reserved now.
    pub(crate) fn held(&self) -> usize {
        self.sum.held.load(Ordering::Relaxed)
    }

    /// Whether a message of this size could be decoded if there were no others.
    pub(super) fn can_take(&self, bytes: usize) -> bool {
        let server = self.server.as_ref();
        bytes <= self.sum.max && server.is_none_or(|server| bytes <= server.max)
    }

    pub(super) fn reserve(self: &Arc<Self>, bytes: usize) -> Result<Reservation> {
        self.sum.take(bytes, CONNECTION)?;
        if let Some(server) = &self.server
            && let Err(status) = server.take(bytes, SERVER)
        {
            self.sum.give_back(bytes);
            return Err(status);
        }
        Ok(Reservation {
            of: self.clone(),
            bytes,
        })
    }
}

/// Reserved memory. Dropping it releases the memory.
#[derive(Debug)]
pub(crate) struct Reservation {
    of: Arc<DecodedBytes>,
    bytes: usize,
}

impl Reservation {
    /// Reserves `bytes` more, even beyond the limit. Later messages find less room then.
    pub(crate) fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.of.sum.add(bytes);
        if let Some(server) = &self.of.server {
            server.add(bytes);
        }
    }

    /// Wraps a future so that it holds the memory until it is dropped.
    pub(crate) fn hold_for<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        ReservationFuture {
            future: Box::pin(future),
            _reserved: self,
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.of.sum.give_back(self.bytes);
        if let Some(server) = &self.of.server {
            server.give_back(self.bytes);
        }
    }
}

struct ReservationFuture<F> {
    // The first field, so that the future is dropped before its memory is released.
    future: Pin<Box<F>>,
    _reserved: Reservation,
}

impl<F: Future> Future for ReservationFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.future.as_mut().poll(cx)
    }
}
