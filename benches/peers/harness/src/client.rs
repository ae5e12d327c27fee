//! The client process: connections, warm-up, the interval measured.
//!
//! The main thread stays outside the runtime and only waits, so that the ends of the interval do
//! not depend on how busy the workers are.

use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    ClientArguments, Framework, Histogram, Load, Report, cpu, latency, load::Event, runtime,
};

/// Puts the load on a server of `F` and measures.
pub(crate) fn run<F: Framework>(arguments: &ClientArguments) -> Result<Report> {
    let runtime = runtime()?;
    let (events, received) = mpsc::channel();
    for _ in 0..arguments.conns {
        let ClientArguments {
            addr,
            workload,
            inflight,
            size,
            ..
        } = *arguments;
        let events = events.clone();
        let load = Load {
            workload,
            inflight,
            size,
            events: events.clone(),
        };
        runtime.spawn(async move {
            let Err(error) = F::load(addr, load).await;
            let _ = events.send(Event::Failed(error));
        });
    }
    await_connections(&received, arguments.conns)?;
    run_for(&received, arguments.warm_up)?;
    let before = Sample::take(arguments)?;
    run_for(&received, arguments.measured)?;
    let after = Sample::take(arguments)?;
    runtime.shutdown_background();
    report(F::NAME, arguments, &before, &after)
}

fn await_connections(received: &Receiver<Event>, conns: usize) -> Result<()> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    for connected in 0..conns {
        match received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Event::Connected) => {}
            Ok(Event::Failed(error)) => return Err(error).context("a connection failed"),
            Err(_) => bail!("{connected} of {conns} connections after {CONNECT_TIMEOUT:?}"),
        }
    }
    Ok(())
}

/// Lets the load run for `duration`, or until a connection fails.
fn run_for(received: &Receiver<Event>, duration: Duration) -> Result<()> {
    match received.recv_timeout(duration) {
        Ok(Event::Failed(error)) => Err(error).context("a connection failed"),
        Ok(Event::Connected) => bail!("a connection reported twice that it stands"),
        Err(RecvTimeoutError::Timeout) => Ok(()),
        Err(RecvTimeoutError::Disconnected) => bail!("all connections are gone"),
    }
}

/// The counters at one end of the interval.
struct Sample {
    at: Instant,
    calls: Histogram,
    client_cpu: Duration,
    server_cpu: Option<Duration>,
}

impl Sample {
    fn take(arguments: &ClientArguments) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            calls: latency::snapshot(),
            client_cpu: cpu::time_of(std::process::id())?,
            server_cpu: arguments.server_pid.map(cpu::time_of).transpose()?,
        })
    }
}

fn report(
    framework: &str,
    arguments: &ClientArguments,
    before: &Sample,
    after: &Sample,
) -> Result<Report> {
    let interval = after.calls.since(&before.calls);
    let calls = interval.calls();
    if calls == 0 {
        bail!("{framework} answered nothing in {:?}", arguments.measured);
    }
    let micros = |fraction| {
        interval
            .percentile(fraction)
            .map(|found| found.as_secs_f64() * 1e6)
    };
    let secs = (after.at - before.at).as_secs_f64();
    let client_cpu_s = (after.client_cpu - before.client_cpu).as_secs_f64();
    let server_cpu_s = after
        .server_cpu
        .zip(before.server_cpu)
        .map(|(after, before)| after.saturating_sub(before).as_secs_f64());
    let per_call = |cpu_s: f64| cpu_s * 1e6 / calls as f64;
    Ok(Report {
        framework: framework.to_owned(),
        workload: arguments.workload.to_string(),
        conns: arguments.conns,
        inflight: arguments.inflight,
        size: arguments.size,
        calls,
        secs,
        calls_per_s: calls as f64 / secs,
        p50_us: micros(0.5),
        p99_us: micros(0.99),
        p999_us: micros(0.999),
        client_cpu_s,
        server_cpu_s,
        client_cpu_us_per_call: per_call(client_cpu_s),
        server_cpu_us_per_call: server_cpu_s.map(per_call),
    })
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
