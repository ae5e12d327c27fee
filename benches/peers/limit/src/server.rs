//! The server of one connection.

use anyhow::Result;
use bytes::{Buf as _, BytesMut};
use harness::Workload;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::frames::{block, frames_per_block, make_room, read_greeting, whole_frames};

/// Serves a connection until the client closes it.
pub(crate) async fn serve(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    match read_greeting(&mut stream).await? {
        Some((Workload::Unary, size)) => echo(stream, size).await,
        Some((Workload::OneWay, _)) => drain(stream).await,
        Some((Workload::Stream, size)) => feed(stream, size).await,
        _ => Ok(()),
    }
}

async fn echo(mut stream: TcpStream, size: usize) -> Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        make_room(&mut buffer, size);
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let whole = whole_frames(&buffer)?;
        stream.write_all(&buffer[..whole.bytes]).await?;
        buffer.advance(whole.bytes);
    }
}

async fn drain(mut stream: TcpStream) -> Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        make_room(&mut buffer, 0);
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let whole = whole_frames(&buffer)?;
        buffer.advance(whole.bytes);
    }
}

async fn feed(mut stream: TcpStream, size: usize) -> Result<()> {
    let block = block(frames_per_block(size), size);
    loop {
        stream.write_all(&block).await?;
    }
}
