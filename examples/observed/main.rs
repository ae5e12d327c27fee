//! Three services that call each other in both directions, and all that can be seen of it: metrics that a
//! collector scrapes, the trace of a call through all of them, and an access log.
//!
//! `cargo run --example observed`

use std::{error::Error, io, time::Duration};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use wawo::{Metrics, Peer, Server, observe::AccessLog};
use wawo_otel::Traces;

use crate::{
    kitchen::{CookServer, Dish, GuestServer, WaiterClient, WaiterServer},
    services::{Kitchen, Restaurant, Wallet},
};

mod services;
mod trace;

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod kitchen {
    wawo::include_proto!("kitchen");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let spans = trace::collect()?;
    let metrics = Metrics::new();
    let access_log = AccessLog::json(io::stdout()).count_dropped_in(&metrics);

    // The restaurant: a server that is observed in three ways.
    let server = Server::builder()
        .add_service(WaiterServer::new(Restaurant::default()))
        .metrics(&metrics)
        .observe(Traces::new())
        .observe(access_log.clone())
        .bind("tcp://127.0.0.1:0")
        .await?;
    let (address, handle) = (server.addresses()[0].to_string(), server.handle());
    let running = tokio::spawn(server.run());

    // The cook connects to the restaurant, and serves over that connection. Its spans belong to the trace.
    let cook = Peer::builder(&*address).add_service(CookServer::new(Kitchen));
    let cook = cook.observe(Traces::new()).connect().await?;
    WaiterClient::new(&cook).begin(()).await?;

    // A guest, which nobody observes.
    let guest = Peer::builder(&*address).add_service(GuestServer::new(Wallet));
    let guest = guest.connect().await?;
    let waiter = WaiterClient::new(&guest);
    let dish = |name: &str| Dish {
        name: name.to_owned(),
    };
    println!("access log:");
    let plate = waiter.order(dish("soup")).await?;
    let refused = waiter.order(dish("snow")).await;
    assert!(refused.is_err());

    drop(cook);
    handle.drain(Duration::from_secs(1)).await;
    running.await??;
    assert!(access_log.flush(Duration::from_secs(1)));

    println!("\na trace, of the order of {}:", plate.contents);
    let printed = spans.print("kitchen.Waiter/Order")?;
    assert_eq!(printed, 5);

    println!("\nmetrics, as a collector gets them:");
    for line in scrape(metrics).await?.lines() {
        if line.starts_with("wawo_calls_started_total") || line.contains("_seconds_count") {
            println!("  {line}");
        }
    }
    Ok(())
}

/// Serves the metrics over HTTP as a program does, and gets them once.
async fn scrape(metrics: Metrics) -> Result<String, Box<dyn Error>> {
    let show = move || async move {
        (
            [(CONTENT_TYPE, "text/plain; version=0.0.4")],
            metrics.to_prometheus(),
        )
    };
    let router = Router::new().route("/metrics", get(show));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async { axum::serve(listener, router).await });

    let mut socket = TcpStream::connect(address).await?;
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    socket.read_to_string(&mut response).await?;
    serving.abort();
    Ok(response)
}
