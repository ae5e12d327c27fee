//! The target's service: handlers that last, read, or call back on request.

mod multiply;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream};
use tokio::sync::Notify;
use wawo::{Context, Result, Status, Streaming};
pub(crate) use wawo_test_protos::tests::{
    self as messages,
    echo::{self, Echo, EchoClient, EchoServer, Message, RepeatRequest},
};

pub(crate) use crate::service::multiply::Keeper;

/// The observable state of the handlers.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The number of handlers of `act` and `talk` that have begun.
    pub(crate) begun: AtomicUsize,
    /// The number of these that have not ended.
    pub(crate) live: AtomicUsize,
    /// The maximum of `live`.
    pub(crate) most_live: AtomicUsize,
    /// The number of one-way messages that have come.
    pub(crate) notes: AtomicUsize,
    changed: Notify,
}

impl Seen {
    /// Waits until a condition on this state is true.
    pub(crate) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if is_so(self) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until this many handlers are live.
    pub(crate) async fn until_live(&self, count: usize) {
        let is_so = |seen: &Self| seen.live.load(Ordering::SeqCst) == count;
        self.until(is_so).await;
    }

    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    pub(crate) fn most_live(&self) -> usize {
        self.most_live.load(Ordering::SeqCst)
    }
}

/// Counts a handler as live until it is dropped.
struct Live(Arc<Seen>);

impl Live {
    fn new(seen: &Arc<Seen>) -> Self {
        seen.begun.fetch_add(1, Ordering::SeqCst);
        let live = seen.live.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most_live.fetch_max(live, Ordering::SeqCst);
        seen.changed.notify_waiters();
        Self(seen.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

/// A service that does what each message asks for.
#[derive(Default, Clone)]
pub(crate) struct Worker(pub(crate) Arc<Seen>);

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker")
    }
}

pub(crate) fn message(data: impl Into<bytes::Bytes>) -> Message {
    Message { data: data.into() }
}

impl Echo for Worker {
    async fn say(&self, _cx: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn act(&self, cx: Context, request: Message) -> Result<Message> {
        let _live = Live::new(&self.0);
        if request.data == "late" {
            // One after the other.
            let turn = Duration::from_millis(self.0.begun() as u64);
            tokio::time::sleep(turn).await;
            return perform(&cx, b"large").await;
        }
        perform(&cx, &request.data).await
    }

    async fn note(&self, _cx: Context, message: Message) {
        if message.data == "wait" {
            std::future::pending::<()>().await;
        }
        if message.data == "yield" {
            tokio::task::yield_now().await;
        }
        self.0.notes.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }

    async fn repeat(&self, _cx: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let items = (0..request.times).map(move |_| Ok(message(request.data.clone())));
        Ok(Streaming::new(stream::iter(items)))
    }

    /// Replies with the number of bytes read.
    async fn join(&self, _cx: Context, mut requests: Streaming<Message>) -> Result<Message> {
        let mut length = 0;
        while let Some(message) = requests.message().await? {
            length += message.data.len();
        }
        Ok(message(length.to_string()))
    }

    /// Returns the requests, unless the metadata `do` is `hold`, which neither reads nor replies,
    /// or `drop`, which drops requests as they come.
    async fn talk(&self, cx: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        let live = Live::new(&self.0);
        match cx.metadata("do") {
            Some("hold") => Ok(Streaming::new(stream::pending::<Message>().map(
                move |item| {
                    let _ = (&requests, &live);
                    item
                },
            ))),
            Some("drop") => {
                drop(requests);
                Ok(Streaming::new(stream::pending::<Message>().map(
                    move |item| {
                        let _ = &live;
                        item
                    },
                )))
            }
            _ => Ok(requests),
        }
    }
}

/// Handlers call back on the connection of their own call.
async fn perform(cx: &Context, what: &[u8]) -> Result<Message> {
    let caller = EchoClient::new(&cx.peer());
    match what {
        b"wait" => std::future::pending().await,
        b"fail" => Err(Status::failed_precondition("as asked")),
        b"panic" => panic!("as asked"),
        b"back" => caller.say(message("back")).await,
        b"circle" => caller.act(message("circle")).await.map_err(Status::forward),
        b"back stream" => {
            let request = RepeatRequest {
                data: "back".into(),
                times: 2,
            };
            let mut replies = caller.repeat(request).await?;
            while replies.message().await?.is_some() {}
            Ok(message("all read"))
        }
        b"deadline" => {
            let left = cx.time_left().map_or(u128::MAX, |left| left.as_millis());
            Ok(message(left.to_string()))
        }
        b"flood" => {
            for _ in 0..40_000 {
                caller.note(message(vec![b'f'; 1_000])).await?;
            }
            Ok(message("done"))
        }
        b"large" => Ok(message(vec![b'l'; 64 * 1024 - 16])),
        _ => Ok(message(what.to_vec())),
    }
}
