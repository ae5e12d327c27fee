//! The client process under load: connections, warm-up, and the measured interval.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{
    ClientArguments, Framework, Histogram, Report, connections::Connections, cpu, latency,
};

/// Loads a server of `F` and measures.
pub(crate) fn run<F: Framework>(arguments: &ClientArguments) -> Result<Report> {
    let connections = Connections::new::<F>()?;
    connections.open::<F>(arguments, arguments.conns)?;
    connections.run_for(arguments.warm_up)?;
    let before = Sample::take(arguments)?;
    connections.run_for(arguments.measured)?;
    let after = Sample::take(arguments)?;
    connections.close();
    report(F::NAME, arguments, &before, &after)
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
