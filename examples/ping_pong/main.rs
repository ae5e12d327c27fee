//! N peers play ping-pong with a server for some seconds.
//!
//! As one command, which starts the server in its own process: `cargo run --release --example
//! ping_pong -- [PEERS] [IN_FLIGHT] [SECONDS] [BYTES]`
//!
//! As two commands: `.. ping_pong -- serve tcp://0.0.0.0:4000`, and with the address as the last
//! argument `.. ping_pong -- 16 32 5 32 tcp://HOST:4000`.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use cpu_time::ProcessTime;
use hdrhistogram::Histogram;
use wawo::{Context, Peer, Result, Server};

use crate::ping_pong::{Ping, PingPong, PingPongClient, PingPongServer, Pong, UsageReply};

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod ping_pong {
    wawo::include_proto!("ping_pong");
}

type Error = Box<dyn std::error::Error + Send + Sync>;

struct Table;

impl PingPong for Table {
    async fn play(&self, _cx: Context, ping: Ping) -> Result<Pong> {
        Ok(Pong { ball: ping.ball })
    }

    async fn usage(&self, _cx: Context, (): ()) -> Result<UsageReply> {
        let cpu_micros = ProcessTime::now().as_duration().as_micros() as u64;
        Ok(UsageReply { cpu_micros })
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut args: Vec<String> = env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "serve") {
        let address = args.get(1).map_or("tcp://127.0.0.1:0", String::as_str);
        let table = PingPongServer::new(Table);
        let server = Server::builder().add_service(table).bind(address).await?;
        println!("serving at {}", server.addresses()[0]);
        return Ok(server.run().await?);
    }
    let address = args.pop_if(|arg| arg.contains("://"));
    let number =
        |index: usize, default: u64| args.get(index).map_or(Ok(default), |arg| arg.parse());
    let (peers, in_flight) = (number(0, 16)?, number(1, 32)?);
    let (seconds, bytes) = (number(2, 3)?, number(3, 32)?);
    match address {
        Some(address) => play(&address, peers, in_flight, seconds, bytes).await,
        None => {
            let mut server = Command::new(env::current_exe()?)
                .arg("serve")
                .stdout(Stdio::piped())
                .spawn()?;
            let mut line = String::new();
            if let Some(output) = server.stdout.take() {
                BufReader::new(output).read_line(&mut line)?;
            }
            let address = line.trim().trim_start_matches("serving at ");
            let played = play(address, peers, in_flight, seconds, bytes).await;
            server.kill()?;
            played
        }
    }
}

async fn play(
    address: &str,
    peers: u64,
    in_flight: u64,
    seconds: u64,
    bytes: u64,
) -> Result<(), Error> {
    let server = PingPongClient::new(&Peer::connect(address).await?);
    let ball = vec![7; bytes as usize];
    let begin = (
        Instant::now(),
        ProcessTime::now(),
        server.usage(()).await?.cpu_micros,
    );
    let end = begin.0 + Duration::from_secs(seconds);
    let mut players = Vec::new();
    for _ in 0..peers {
        let table = PingPongClient::new(&Peer::connect(address).await?);
        for _ in 0..in_flight {
            players.push(tokio::spawn(player(table.clone(), ball.clone(), end)));
        }
    }
    let mut latency = Histogram::<u64>::new(3)?;
    for player in players {
        latency.add(player.await??)?;
    }
    let (calls, wall) = (latency.len() as f64, begin.0.elapsed().as_secs_f64());
    let server_cpu = (server.usage(()).await?.cpu_micros - begin.2) as f64;
    let client_cpu = begin.1.elapsed().as_micros() as f64;
    println!(
        "{peers} peers x {in_flight} in flight, {bytes} bytes: {:.0} calls/s",
        calls / wall
    );
    let us = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "latency us: p50 {:.0}, p99 {:.0}, p99.9 {:.0}",
        us(0.5),
        us(0.99),
        us(0.999)
    );
    println!(
        "cpu us a call: server {:.2}, client {:.2}",
        server_cpu / calls,
        client_cpu / calls
    );
    Ok(())
}

async fn player(
    table: PingPongClient,
    ball: Vec<u8>,
    end: Instant,
) -> Result<Histogram<u64>, Error> {
    let mut latency = Histogram::new(3)?;
    while Instant::now() < end {
        let begin = Instant::now();
        let pong = table
            .play(Ping {
                ball: ball.clone().into(),
            })
            .await?;
        assert_eq!(pong.ball.len(), ball.len());
        latency.record(begin.elapsed().as_nanos() as u64)?;
    }
    Ok(latency)
}
