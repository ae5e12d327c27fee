//! The server of one connection.

use std::convert::Infallible;

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use harness::MAX_MESSAGE_BYTES;
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    FeedRequest, Message,
    frame::{self, CallId, Method},
};

/// Serves a connection until the client closes it.
pub(crate) async fn serve(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BytesMut::new();
    let mut output = BytesMut::new();
    loop {
        while let Some(frame) = frame::take(&mut input)? {
            match frame.method {
                Method::Echo => {
                    let message = Message::decode(frame.body)?;
                    frame::put(&mut output, frame.id, frame.method, &message);
                }
                Method::Take => drop(Message::decode(frame.body)?),
                Method::Feed => {
                    let request = FeedRequest::decode(frame.body)?;
                    feed(&mut stream, frame.id, request).await?;
                }
            }
        }
        if !output.is_empty() {
            stream.write_all(&output).await?;
            output.clear();
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// A feed occupies its connection: other calls on it wait forever.
async fn feed(stream: &mut TcpStream, id: CallId, request: FeedRequest) -> Result<Infallible> {
    let size = usize::try_from(request.size).unwrap_or(usize::MAX);
    let data = Bytes::from(vec![b'w'; size.min(MAX_MESSAGE_BYTES / 2)]);
    let mut output = BytesMut::new();
    loop {
        while output.len() < WRITE_BYTES {
            let item = Message { data: data.clone() };
            frame::put(&mut output, id, Method::Feed, &item);
        }
        stream.write_all(&output).await?;
        output.clear();
    }
}

/// Items of a feed are written when they have this size together.
const WRITE_BYTES: usize = 64 << 10;
