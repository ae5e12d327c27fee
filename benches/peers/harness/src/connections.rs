//! The connections of a client process.

use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::runtime::Runtime;

use crate::{ClientArguments, Framework, Load, WORKER_THREADS, load::Event, runtime};

/// Connections and their load, on their own runtimes in turn.
///
/// The owning thread stays outside of these runtimes and only waits, so the ends of an interval do
/// not depend on the load of the workers.
#[derive(Debug)]
pub(crate) struct Connections {
    runtimes: Vec<Runtime>,
    events: Sender<Event>,
    received: Receiver<Event>,
}

impl Connections {
    pub(crate) fn new<F: Framework>() -> Result<Self> {
        let (events, received) = mpsc::channel();
        let threads = WORKER_THREADS / F::CLIENT_RUNTIMES;
        let runtimes = (0..F::CLIENT_RUNTIMES).map(|_| runtime(threads));
        Ok(Self {
            runtimes: runtimes.collect::<std::io::Result<_>>()?,
            events,
            received,
        })
    }

    /// Opens `count` more connections and waits until they are connected.
    pub(crate) fn open<F: Framework>(
        &self,
        arguments: &ClientArguments,
        count: usize,
    ) -> Result<()> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        for opened in (0..count).step_by(MAX_CONNECTING) {
            let connecting = MAX_CONNECTING.min(count - opened);
            for number in opened..opened + connecting {
                self.start::<F>(arguments, number);
            }
            for connected in 0..connecting {
                let left = deadline.saturating_duration_since(Instant::now());
                match self.received.recv_timeout(left) {
                    Ok(Event::Connected) => {}
                    Ok(Event::Failed(error)) => return Err(error).context("a connection failed"),
                    Err(_) => bail!(
                        "{} of {count} connections after {CONNECT_TIMEOUT:?}",
                        opened + connected
                    ),
                }
            }
        }
        Ok(())
    }

    /// Lets the load run for `duration`, or until a connection fails.
    pub(crate) fn run_for(&self, duration: Duration) -> Result<()> {
        match self.received.recv_timeout(duration) {
            Ok(Event::Failed(error)) => Err(error).context("a connection failed"),
            Ok(Event::Connected) => bail!("a connection reported twice that it stands"),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => bail!("all connections are gone"),
        }
    }

    /// Leaves the connections open until the process ends.
    pub(crate) fn close(self) {
        let runtimes = self.runtimes.into_iter();
        runtimes.for_each(Runtime::shutdown_background);
    }

    fn start<F: Framework>(&self, arguments: &ClientArguments, number: usize) {
        let addr = arguments.addr;
        let events = self.events.clone();
        let load = Load {
            workload: arguments.workload,
            inflight: arguments.inflight,
            size: arguments.size,
            events: events.clone(),
        };
        let runtime = &self.runtimes[number % self.runtimes.len()];
        runtime.spawn(async move {
            let Err(error) = F::load(addr, load).await;
            let _ = events.send(Event::Failed(error));
        });
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Less than the default backlog of a listener, so that no connection waits for a retransmission.
const MAX_CONNECTING: usize = 64;
