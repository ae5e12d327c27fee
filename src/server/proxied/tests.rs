use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, duplex};

use super::{Ask, HandshakeRequest, HeaderReader, Progress, ProxyHeaderError};
use crate::transport::{Transport, proxy_header::any_bytes::write};

/// Polls once.
async fn now<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    poll_fn(|cx| match poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn the_bytes_behind_a_header_stay_unread() {
    for version in [1, 2] {
        let (mut there, here) = duplex(1024);
        let mut here: Box<dyn Transport> = Box::new(here);
        let client = "[2001:db8::7]:40000".parse().unwrap();
        let header = write(Some(client), version);
        for byte in header.iter().chain(b"WAWO/1\r\n") {
            there.write_all(&[*byte]).await.unwrap();
        }
        let request = HandshakeRequest::default();
        let mut reader = HeaderReader::new(&mut here, &request);
        let Some(Progress::Done(Ok(read))) = now(|cx| reader.poll(cx)).await else {
            panic!("version {version}");
        };
        assert_eq!((read.client, read.length), (Some(client), header.len()));
        drop(there);
        let mut rest = Vec::new();
        here.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"WAWO/1\r\n");
    }
}

/// The request of a server that must know who is silent comes before any byte, after some, and at the same
/// moment as the last.
#[tokio::test]
async fn one_that_is_asked_whether_it_says_anything_is_read_first() {
    let (mut there, here) = duplex(1024);
    let mut here: Box<dyn Transport> = Box::new(here);
    let request = HandshakeRequest::default();
    let mut reader = HeaderReader::new(&mut here, &request);
    assert!(now(|cx| reader.poll(cx)).await.is_none());
    there.write_all(b"PROXY UNKNOWN").await.unwrap();
    request.ask(Ask::CloseIfSilent);
    let spoken = now(|cx| reader.poll(cx)).await;
    assert!(matches!(spoken, Some(Progress::HasSpoken)), "{spoken:?}");
    assert!(now(|cx| reader.poll(cx)).await.is_none());
    there.write_all(b"\r\n").await.unwrap();
    request.ask(Ask::CloseIfSilent);
    let spoken = now(|cx| reader.poll(cx)).await;
    assert!(matches!(spoken, Some(Progress::HasSpoken)), "{spoken:?}");
    let done = now(|cx| reader.poll(cx)).await;
    assert!(matches!(done, Some(Progress::Done(Ok(_)))), "{done:?}");
    let mut reader = HeaderReader::new(&mut here, &request);
    request.ask(Ask::CloseIfSilent);
    let silent = now(|cx| reader.poll(cx)).await;
    assert!(matches!(silent, Some(Progress::Asked(Ask::CloseIfSilent))));
}

/// Another request is passed on to the next part of the handshake, if the header is whole.
#[tokio::test]
async fn a_request_that_comes_with_the_header_is_left_to_the_next_part() {
    let (mut there, here) = duplex(1024);
    let mut here: Box<dyn Transport> = Box::new(here);
    let request = Arc::new(HandshakeRequest::default());
    there.write_all(&write(None, 2)).await.unwrap();
    request.ask(Ask::Drain);
    let mut reader = HeaderReader::new(&mut here, &request);
    let done = now(|cx| reader.poll(cx)).await;
    assert!(matches!(done, Some(Progress::Done(Ok(_)))), "{done:?}");
    assert_eq!(
        now(|cx| Poll::Ready(request.poll(cx))).await,
        Some(Some(Ask::Drain))
    );
}

/// A transport whose reads fail.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        unreachable!("nothing is written before the header")
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        unreachable!("nothing is written before the header")
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        unreachable!("nothing is written before the header")
    }
}

#[tokio::test]
async fn the_end_and_the_loss_of_a_connection_are_told_apart() {
    let (mut there, ended) = duplex(1024);
    there.write_all(b"PROXY").await.unwrap();
    drop(there);
    let kind = io::ErrorKind::ConnectionReset;
    let expected: [(Box<dyn Transport>, _); 2] = [
        (Box::new(ended), ProxyHeaderError::Ended { bytes: 5 }),
        (Box::new(Broken), ProxyHeaderError::Lost { bytes: 0, kind }),
    ];
    for (mut transport, expected) in expected {
        let request = HandshakeRequest::default();
        let mut reader = HeaderReader::new(&mut transport, &request);
        let Some(Progress::Done(Err(error))) = now(|cx| reader.poll(cx)).await else {
            panic!("{expected}");
        };
        assert_eq!(error, expected);
    }
}
