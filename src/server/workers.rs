//! Threads that serve connections, each with a runtime of its own.

use std::{io, sync::Arc, thread, time::Duration};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
};

/// How often a worker that is to end looks whether its last task has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The workers of a server; none by default. When this is dropped, each thread ends with the last task
/// there.
#[derive(Debug, Default)]
pub(crate) struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// A clone for each connection, so that its count is the number of connections.
    seats: Arc<()>,
    /// Dropping it lets the thread end.
    _end: oneshot::Sender<()>,
}

/// The seat of one connection at a worker.
#[derive(Debug)]
pub(crate) struct WorkerSlot {
    runtime: Handle,
    _counted: Arc<()>,
}

impl Workers {
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let workers = (0..count).map(Worker::start);
        Ok(Self(workers.collect::<io::Result<_>>()?))
    }

    /// A seat at the worker that has the fewest connections; `None` if there are no workers.
    pub(crate) fn seat(&self) -> Option<WorkerSlot> {
        let freest = self.0.iter().min_by_key(|worker| worker.connections());
        freest.map(Worker::seat)
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let worker = Self {
            runtime: runtime.handle().clone(),
            seats: Arc::default(),
            _end: end,
        };
        let thread = thread::Builder::new().name(format!("wawo-worker-{number}"));
        thread.spawn(move || work(runtime, ended))?;
        Ok(worker)
    }

    fn connections(&self) -> usize {
        Arc::strong_count(&self.seats)
    }

    fn seat(&self) -> WorkerSlot {
        WorkerSlot {
            runtime: self.runtime.clone(),
            _counted: self.seats.clone(),
        }
    }
}

impl WorkerSlot {
    /// The runtime of the worker, in which its connection is opened and spawned.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

/// The main function of a worker's thread.
fn work(runtime: Runtime, ended: oneshot::Receiver<()>) {
    runtime.block_on(async {
        // It always ends with an error, because the sender is only ever dropped.
        let _ = ended.await;
        // Handlers that run to completion outlive their server, so the thread waits for them, as a
        // runtime without workers would.
        while runtime.metrics().num_alive_tasks() > 0 {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    });
    // A handler may have left a blocking task, for which nobody waits.
    runtime.shutdown_background();
}
