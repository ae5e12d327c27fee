//! One simulation, from its plan to its history.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::{
    runtime::{Builder, Handle},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    history::{Entry, Event},
    hosts::Hosts,
    plan::{AMPLE, BUSY, Plan},
    world::World,
};

/// The results of a simulation.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) world: Arc<World>,
    pub(crate) entries: Vec<Entry>,
    /// A digest of all bytes that moved, and of their times.
    pub(crate) moved: u64,
    /// The number of tasks that are left after everything was dropped.
    pub(crate) tasks_left: usize,
    /// The lines of the metrics that count calls in flight, connections and held bytes, and are not zero.
    pub(crate) figures_left: Vec<String>,
}

/// Every call should be over before this time.
const LIMIT: Duration = BUSY
    .saturating_add(AMPLE)
    .saturating_add(Duration::from_secs(60));

/// The time after the last call for one-way messages and keep-alive to finish.
const SETTLE: Duration = Duration::from_secs(60);

/// The maximum time for a driver to close its connection.
const CLOSE: Duration = Duration::from_secs(2);

/// Runs a plan.
pub(crate) fn run(plan: Plan) -> Run {
    // One thread, and a clock that advances only when all tasks wait.
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing from the system");
    runtime.block_on(simulate(plan))
}

async fn simulate(plan: Plan) -> Run {
    let world = World::new(plan);
    let hosts = Hosts::new(&world);
    let clients = (0..world.plan.clients).map(|client| hosts.clone().run_client(client));
    let clients: Vec<_> = clients.map(tokio::spawn).collect();
    let faults = tokio::spawn(hosts.clone().run_faults());
    let calls = world.plan.calls.iter().map(|call| call.number);
    let mut calls: Vec<_> = calls
        .map(|number| tokio::spawn(hosts.clone().make_call(number)))
        .collect();

    // The checker finds calls that are not over by then.
    let _ = timeout(LIMIT, join(&mut calls)).await;
    faults.await.expect("strikes do not panic");
    sleep(SETTLE).await;

    world.history.add(Event::Closing);
    for task in calls.iter().chain(&clients) {
        task.abort();
    }
    hosts.forget_peers();
    sleep(CLOSE).await;
    hosts.stop_server();
    sleep(CLOSE).await;
    let (entries, moved) = world.history.take();
    Run {
        figures_left: figures_left(&world),
        world,
        entries,
        moved,
        tasks_left: Handle::current().metrics().num_alive_tasks(),
    }
}

/// The gauges that should be zero at rest.
fn figures_left(world: &World) -> Vec<String> {
    let text = world.metrics.to_prometheus();
    let is_gauge = |line: &&str| {
        let name = line.split(['{', ' ']).next();
        name.is_some_and(|name| GAUGES.contains(&name)) && !line.ends_with(" 0")
    };
    text.lines().filter(is_gauge).map(str::to_owned).collect()
}

/// The names of these gauges.
const GAUGES: [&str; 7] = [
    "wawo_calls_in_flight",
    "wawo_connections",
    "wawo_peers",
    "wawo_output_bytes",
    "wawo_outbox_bytes",
    "wawo_waiting_calls",
    "wawo_blocked_connections",
];

async fn join(calls: &mut [JoinHandle<()>]) {
    for call in join_all(calls).await {
        call.expect("a caller does not panic");
    }
}
