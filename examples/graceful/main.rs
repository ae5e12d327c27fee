//! A server that shuts down gracefully: on Ctrl-C or SIGTERM it takes no more calls, lets the calls
//! in flight end, cuts the rest after the grace period, and prints a report.
//!
//! `cargo run --example graceful` runs server and clients by itself; `.. graceful -- serve
//! tcp://127.0.0.1:4000` serves until Ctrl-C.

use std::{env, future::Future, time::Duration};

use futures::StreamExt;
use tokio::{sync::oneshot, time::interval};
use wawo::{Context, Peer, Result, Server, ServerConfig, Streaming, shutdown_signal};

use crate::jobs::{Done, Job, Jobs, JobsClient, JobsServer, Tick, WatchRequest};

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod jobs {
    wawo::include_proto!("jobs");
}

type Error = Box<dyn std::error::Error + Send + Sync>;

struct Worker;

impl Jobs for Worker {
    async fn work(&self, _cx: Context, job: Job) -> Result<Done> {
        tokio::time::sleep(Duration::from_millis(job.millis.into())).await;
        Ok(Done {})
    }

    async fn watch(&self, cx: Context, _: WatchRequest) -> Result<Streaming<Tick>> {
        let peer = cx.peer();
        let ticks =
            futures::stream::unfold(interval(Duration::from_millis(50)), |mut every| async {
                every.tick().await;
                Some(((), every))
            });
        let numbered = ticks.enumerate().map(|(number, ())| {
            Ok(Tick {
                number: number as u32,
            })
        });
        let until_drained = numbered.take_until(Box::pin(async move { peer.draining().await }));
        Ok(Streaming::new(until_drained))
    }
}

const GRACE: Duration = Duration::from_millis(500);

async fn server(address: &str) -> Result<Server, Error> {
    let config = ServerConfig::builder().drain_grace(GRACE).build()?;
    let server = Server::builder().config(config);
    let server = server.add_service(JobsServer::new(Worker));
    Ok(server.bind(address).await?)
}

/// Serves until the signal, drains, and prints the report.
async fn run(server: Server, signal: impl Future<Output = ()>) -> Result<(), Error> {
    let report = server.run_until(signal).await?;
    println!(
        "drained {} peers: {} calls finished, {} peers were cut",
        report.peers,
        report.finished,
        report.cut.len()
    );
    for cut in &report.cut {
        println!("  peer {} had {} calls left", cut.id, cut.calls);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("serve") => {
            let address = args.get(1).map_or("tcp://127.0.0.1:4000", String::as_str);
            let server = server(address).await?;
            println!("serving at {address} until Ctrl-C");
            run(server, shutdown_signal()).await
        }
        _ => play().await,
    }
}

/// Makes one call that ends within the grace period, one that does not, a stream that ends by
/// itself, and a call that comes too late.
async fn play() -> Result<(), Error> {
    let address = "mem://jobs";
    let (stop, stopped) = oneshot::channel::<()>();
    let server = server(address).await?;
    let running = tokio::spawn(run(server, async { drop(stopped.await) }));
    let peer = Peer::connect(address).await?;
    let jobs = JobsClient::new(&peer);
    let mut ticks = jobs.watch(WatchRequest {}).await?;
    ticks.message().await?;
    let short = tokio::spawn(jobs.work(Job { millis: 200 }));
    let long = tokio::spawn(jobs.work(Job { millis: 5_000 }));
    jobs.work(Job { millis: 0 }).await?;

    drop(stop);
    peer.draining().await;
    let late = jobs.work(Job { millis: 0 }).await;
    let status = late.expect_err("the server takes no more calls");
    println!(
        "a late call: {status} (safe to retry: {})",
        status.is_safe_to_retry()
    );
    println!("the short one: {:?}", short.await?.map(|Done {}| "done"));
    while ticks.message().await?.is_some() {}
    println!("the ticks: {:?}", ticks.end());
    println!("the long one: {}", long.await?.expect_err("it was cut"));
    running.await?
}
