//! Callers, and the cost of their calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use cpu_time::ProcessTime;
use tokio::{task::JoinSet, time::sleep};
use wawo::Call;

use crate::echo::{EchoClient, Message};

/// The default number of message bytes.
pub(crate) const BYTES: usize = 32;

/// The default number of calls in flight.
pub(crate) const IN_FLIGHT: usize = 64;

/// The time for which each point is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    warm_up: Duration,
    slice: Duration,
    slices: usize,
}

impl Pace {
    /// Long enough for meaningful figures.
    pub(crate) const FULL: Self = Self {
        warm_up: Duration::from_millis(300),
        slice: Duration::from_millis(400),
        slices: 3,
    };

    /// Long enough to show that it works.
    pub(crate) const TEST: Self = Self {
        warm_up: Duration::from_millis(1),
        slice: Duration::from_millis(20),
        slices: 1,
    };

    /// The sum of all slices.
    pub(crate) fn measured(self) -> Duration {
        self.slice * self.slices as u32
    }
}

/// The cost of calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) calls_per_sec: f64,
    /// The CPU time of one call, both ends together.
    pub(crate) cpu: Duration,
}

/// Callers in closed loops: each makes its next call when it has the reply to its last one. They
/// end when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Load {
    calls: Arc<AtomicU64>,
    callers: JoinSet<()>,
}

impl Load {
    /// Starts `in_flight` callers of an echo service.
    pub(crate) fn of(client: &EchoClient, in_flight: usize, bytes: usize) -> Self {
        let mut load = Self::default();
        for _ in 0..in_flight {
            load.add_echo(client, bytes);
        }
        load
    }

    pub(crate) fn add_echo(&mut self, client: &EchoClient, bytes: usize) {
        let client = client.clone();
        let data = Bytes::from(vec![7; bytes]);
        self.add(move || client.say(Message { data: data.clone() }));
    }

    /// Adds a caller.
    pub(crate) fn add(&mut self, mut call: impl FnMut() -> Call<Message> + Send + 'static) {
        let calls = self.calls.clone();
        self.callers.spawn(async move {
            loop {
                call().await.expect("an echo");
                calls.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// Measures several slices of time, and returns the median.
    pub(crate) async fn measure(&mut self, pace: Pace) -> Cost {
        self.wait(pace.warm_up).await;
        let mut costs = Vec::new();
        for _ in 0..pace.slices {
            let before = (self.calls(), Instant::now(), ProcessTime::now());
            self.wait(pace.slice).await;
            let calls = self.calls() - before.0;
            costs.push(Cost {
                calls_per_sec: calls as f64 / before.1.elapsed().as_secs_f64(),
                cpu: before.2.elapsed().div_f64(calls.max(1) as f64),
            });
        }
        costs.sort_by_key(|cost| cost.cpu);
        costs[costs.len() / 2]
    }

    /// The number of calls that have ended.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Lets the callers run for this time.
    async fn wait(&mut self, time: Duration) {
        tokio::select! {
            () = sleep(time) => {}
            // The callers never end, unless a call fails.
            Some(ended) = self.callers.join_next() => ended.expect("callers that find no error"),
        }
    }
}
