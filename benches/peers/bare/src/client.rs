//! The handle of one connection, which callers share.

use std::{
    collections::VecDeque,
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use anyhow::{Result, bail};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use prost::Message as _;
use slab::Slab;
use tokio::net::TcpStream;

use crate::{
    FeedRequest, Message, driver,
    frame::{self, CallId, Method},
};

/// Opens a connection. Its driver lives until the connection fails.
pub(crate) async fn connect(addr: SocketAddr) -> Result<Client> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let client = Client::default();
    tokio::spawn(driver::drive(stream, client.clone()));
    Ok(client)
}

/// Makes calls on one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    shared: Arc<Mutex<Shared>>,
}

/// The state that callers and the driver share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Frames to write.
    pub(crate) output: BytesMut,
    /// Wakes the driver when there is something to write.
    pub(crate) writer: Option<Waker>,
    /// Wakes the driver when a stream has room again.
    pub(crate) reader: Option<Waker>,
    /// Wakes those who wait for room in the output.
    pub(crate) senders: Vec<Waker>,
    /// The calls in flight, by id.
    pub(crate) calls: Slab<Call>,
    /// Whether the connection has failed.
    pub(crate) is_closed: bool,
}

/// A call in flight, with the messages that came for it.
#[derive(Debug)]
pub(crate) enum Call {
    Waiting(Option<Waker>),
    Replied(Bytes),
    Streaming(VecDeque<Bytes>, Option<Waker>),
}

impl Client {
    pub(crate) async fn echo(&self, message: Message) -> Result<Message> {
        let id = self.start(Call::Waiting(None), Method::Echo, &message);
        let body = poll_fn(|cx| self.shared().poll_reply(id, cx)).await?;
        Ok(Message::decode(body)?)
    }

    /// Waits while the output is full.
    pub(crate) async fn take(&self, message: Message) -> Result<()> {
        poll_fn(|cx| self.shared().poll_send(&message, cx)).await
    }

    pub(crate) fn feed(
        &self,
        request: FeedRequest,
    ) -> impl Stream<Item = Result<usize>> + Send + use<> {
        let id = self.start(
            Call::Streaming(VecDeque::new(), None),
            Method::Feed,
            &request,
        );
        Feed {
            client: self.clone(),
            id,
            items: VecDeque::new(),
        }
    }

    pub(crate) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, call: Call, method: Method, request: &impl prost::Message) -> CallId {
        let mut shared = self.shared();
        let id = CallId(shared.calls.insert(call) as u32);
        shared.put(id, method, request);
        id
    }
}

impl Shared {
    /// Appends a frame. A driver that is writing, or about to write, finds it without being woken.
    fn put(&mut self, id: CallId, method: Method, message: &impl prost::Message) {
        frame::put(&mut self.output, id, method, message);
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn poll_send(&mut self, message: &Message, cx: &Context<'_>) -> Poll<Result<()>> {
        if self.is_closed {
            return Poll::Ready(closed());
        }
        if self.output.len() >= MAX_OUTPUT_BYTES {
            self.senders.push(cx.waker().clone());
            return Poll::Pending;
        }
        self.put(CallId(0), Method::Take, message);
        Poll::Ready(Ok(()))
    }

    fn poll_reply(&mut self, id: CallId, cx: &Context<'_>) -> Poll<Result<Bytes>> {
        let call = &mut self.calls[id.0 as usize];
        match call {
            Call::Waiting(_) if self.is_closed => Poll::Ready(closed()),
            Call::Waiting(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Call::Replied(body) => {
                let body = std::mem::take(body);
                self.calls.remove(id.0 as usize);
                Poll::Ready(Ok(body))
            }
            Call::Streaming(..) => unreachable!("`echo` starts no stream"),
        }
    }

    /// Takes all items that have come, in exchange for `empty`.
    fn poll_items(
        &mut self,
        id: CallId,
        empty: &mut VecDeque<Bytes>,
        cx: &Context<'_>,
    ) -> Poll<Result<()>> {
        let Call::Streaming(items, waker) = &mut self.calls[id.0 as usize] else {
            unreachable!("`feed` starts a stream");
        };
        if items.is_empty() {
            if self.is_closed {
                return Poll::Ready(closed());
            }
            *waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        std::mem::swap(items, empty);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }
}

/// The items of a stream.
struct Feed {
    client: Client,
    id: CallId,
    /// Taken from the call all at once, so that most items need no lock.
    items: VecDeque<Bytes>,
}

impl Stream for Feed {
    type Item = Result<usize>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { client, id, items } = &mut *self;
        if items.is_empty() {
            ready!(client.shared().poll_items(*id, items, cx))?;
        }
        let Some(body) = items.pop_front() else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(Ok(Message::decode(body)?.data.len())))
    }
}

fn closed<T>() -> Result<T> {
    bail!("the connection is closed")
}

/// One-way messages wait while at least this much output waits.
const MAX_OUTPUT_BYTES: usize = 64 << 10;
