//! The client of one connection.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Result, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use harness::{Load, Workload, latency};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::Notify,
    try_join,
};

use crate::frames::{
    block, frame_bytes, frames_per_block, make_room, whole_frames, write_greeting,
};

/// Connects and loads the connection.
pub(crate) async fn run(addr: SocketAddr, load: Load) -> Result<Infallible> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    write_greeting(&mut stream, load.workload, load.size).await?;
    if load.workload == Workload::Idle {
        return call_once(stream, &load).await;
    }
    load.connected();
    match load.workload {
        Workload::OneWay => send_blocks(stream, load.size).await,
        Workload::Stream => {
            read_frames(stream.split().0, load.size, |count| {
                latency::count(count as u64)
            })
            .await
        }
        _ => keep_in_the_air(stream, load.inflight, load.size).await,
    }
}

/// Keeps `inflight` frames on their way: sends as many frames as come back. Reading and writing
/// must not wait for each other, because two ends that both only write would block forever.
async fn keep_in_the_air(
    mut stream: TcpStream,
    inflight: usize,
    size: usize,
) -> Result<Infallible> {
    let air = Air::new(inflight);
    let block = block(inflight, size);
    let (reader, writer) = stream.split();
    let (never, _) = try_join!(
        read_frames(reader, size, |count| air.land(count)),
        write_frames(writer, &air, &block, frame_bytes(size)),
    )?;
    Ok(never)
}

async fn write_frames(
    mut writer: WriteHalf<'_>,
    air: &Air,
    block: &Bytes,
    frame_bytes: usize,
) -> Result<Infallible> {
    loop {
        let count = air.launch().await;
        writer.write_all(&block[..count * frame_bytes]).await?;
    }
}

async fn read_frames(
    mut reader: ReadHalf<'_>,
    size: usize,
    landed: impl Fn(usize),
) -> Result<Infallible> {
    let mut buffer = BytesMut::new();
    loop {
        make_room(&mut buffer, size);
        ensure!(
            reader.read_buf(&mut buffer).await? > 0,
            "the server closed the connection"
        );
        let whole = whole_frames(&buffer)?;
        buffer.advance(whole.bytes);
        landed(whole.count);
    }
}

async fn send_blocks(mut stream: TcpStream, size: usize) -> Result<Infallible> {
    let count = frames_per_block(size);
    let block = block(count, size);
    loop {
        stream.write_all(&block).await?;
        latency::count(count as u64);
    }
}

async fn call_once(mut stream: TcpStream, load: &Load) -> Result<Infallible> {
    stream.write_all(&block(1, load.size)).await?;
    stream
        .read_exact(&mut vec![0; frame_bytes(load.size)])
        .await?;
    load.connected();
    pending().await
}

/// The frames on their way, in order, and those that may start.
struct Air {
    flight: Mutex<Flight>,
    may_launch: Notify,
}

struct Flight {
    idle: usize,
    batches: VecDeque<(Instant, usize)>,
}

impl Air {
    fn new(inflight: usize) -> Self {
        let flight = Flight {
            idle: inflight,
            batches: VecDeque::new(),
        };
        Self {
            flight: Mutex::new(flight),
            may_launch: Notify::new(),
        }
    }

    /// Starts all frames that may start, at least one; returns their number.
    async fn launch(&self) -> usize {
        loop {
            if let Some(count) = self.flight().launch() {
                return count;
            }
            self.may_launch.notified().await;
        }
    }

    /// Records that the oldest `count` frames came back.
    fn land(&self, count: usize) {
        if count > 0 {
            self.flight().land(count);
            self.may_launch.notify_one();
        }
    }

    fn flight(&self) -> std::sync::MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn launch(&mut self) -> Option<usize> {
        let count = std::mem::take(&mut self.idle);
        (count > 0).then(|| {
            self.batches.push_back((Instant::now(), count));
            count
        })
    }

    fn land(&mut self, count: usize) {
        let now = Instant::now();
        let mut left = count;
        while let Some((start, batch)) = self.batches.front_mut()
            && left > 0
        {
            let landed = left.min(*batch);
            latency::record(now - *start, landed as u64);
            *batch -= landed;
            left -= landed;
            if *batch == 0 {
                self.batches.pop_front();
            }
        }
        self.idle += count - left;
    }
}
