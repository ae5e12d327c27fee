//! The load of one client connection, and its loops.

use std::{convert::Infallible, future::pending, pin::pin, sync::mpsc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use tokio::task::{AbortHandle, JoinSet};

use crate::{Workload, latency};

/// The load of one connection, until the process ends.
///
/// Each loop starts [`inflight`](Self::inflight) tasks that share the connection, and returns only
/// when one of them has failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Load {
    /// The kind of load.
    pub workload: Workload,
    /// The number of callers, senders or streams.
    pub inflight: usize,
    /// The number of bytes in the payload of a message.
    pub size: usize,
    pub(crate) events: mpsc::Sender<Event>,
}

/// An event of a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The connection is open, and its load begins.
    Connected,
    /// The connection has failed.
    Failed(anyhow::Error),
}

impl Load {
    /// Reports that the connection is open. The loops do so themselves; only a framework that
    /// drives its connection without them needs this.
    pub fn connected(&self) {
        // The client drops the receiver when it has its figures; then the event is not needed.
        let _ = self.events.send(Event::Connected);
    }

    /// Runs callers in closed loops: each makes its next call when it has the reply to its last
    /// one. `echo` makes one call and returns the number of payload bytes in the reply. An idle
    /// connection makes one call, and keeps `echo`.
    ///
    /// # Errors
    ///
    /// A call failed, or the size of a reply differs from its request.
    pub async fn closed_loop<E, R>(self, echo: E) -> Result<Infallible>
    where
        E: Fn(Bytes) -> R + Clone + Send + 'static,
        R: Future<Output = Result<usize>> + Send + 'static,
    {
        if self.workload == Workload::Idle {
            return self.idle(echo).await;
        }
        let caller = |payload| call_for_ever(echo.clone(), payload);
        self.spawn_each(caller, JoinSet::spawn).await
    }

    /// [`closed_loop`](Self::closed_loop) for a connection that stays on one thread: the callers
    /// are tasks of the current `LocalSet` or `LocalRuntime`.
    ///
    /// # Errors
    ///
    /// A call failed, or the size of a reply differs from its request.
    ///
    /// # Panics
    ///
    /// If it runs on neither.
    pub async fn closed_loop_local<E, R>(self, echo: E) -> Result<Infallible>
    where
        E: Fn(Bytes) -> R + Clone + 'static,
        R: Future<Output = Result<usize>> + 'static,
    {
        if self.workload == Workload::Idle {
            return self.idle(echo).await;
        }
        let caller = |payload| call_for_ever(echo.clone(), payload);
        self.spawn_each(caller, JoinSet::spawn_local).await
    }

    /// Runs senders of one-way messages. Each sends the next message when `send` has returned. A
    /// message is counted then, so `send` must wait when the connection is behind.
    ///
    /// # Errors
    ///
    /// A message could not be sent.
    pub async fn one_way<E, R>(self, send: E) -> Result<Infallible>
    where
        E: Fn(Bytes) -> R + Clone + Send + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        let sender = |payload| send_for_ever(send.clone(), payload);
        self.spawn_each(sender, JoinSet::spawn).await
    }

    /// Runs readers of endless streams. `open` starts a stream, whose items are the number of
    /// payload bytes in each message.
    ///
    /// # Errors
    ///
    /// A stream failed or ended, or an item has another size than requested.
    pub async fn streams<E, R, S>(self, open: E) -> Result<Infallible>
    where
        E: Fn() -> R + Clone + Send + 'static,
        R: Future<Output = Result<S>> + Send + 'static,
        S: Stream<Item = Result<usize>> + Send + 'static,
    {
        let reader = |payload: Bytes| read_for_ever(open.clone(), payload.len());
        self.spawn_each(reader, JoinSet::spawn).await
    }

    /// Makes one call, and keeps `echo` forever.
    async fn idle<E, R>(self, echo: E) -> Result<Infallible>
    where
        E: Fn(Bytes) -> R,
        R: Future<Output = Result<usize>>,
    {
        check(echo(Bytes::from(vec![b'w'; self.size])), self.size).await?;
        self.connected();
        pending().await
    }

    /// Runs `inflight` tasks that `start` makes from a payload, until the first one fails.
    async fn spawn_each<T>(
        self,
        start: impl Fn(Bytes) -> T,
        spawn: impl Fn(&mut JoinSet<Result<Infallible>>, T) -> AbortHandle,
    ) -> Result<Infallible> {
        self.connected();
        let mut tasks = JoinSet::new();
        for _ in 0..self.inflight {
            spawn(&mut tasks, start(Bytes::from(vec![b'w'; self.size])));
        }
        tasks
            .join_next()
            .await
            .context("there are no callers")?
            .context("a caller panicked")?
    }
}

async fn call_for_ever<E, R>(echo: E, payload: Bytes) -> Result<Infallible>
where
    E: Fn(Bytes) -> R,
    R: Future<Output = Result<usize>>,
{
    let mut start = Instant::now();
    loop {
        check(echo(payload.clone()), payload.len()).await?;
        let end = Instant::now();
        latency::record(end - start, 1);
        start = end;
    }
}

async fn check(reply: impl Future<Output = Result<usize>>, sent: usize) -> Result<()> {
    let size = reply.await?;
    ensure!(size == sent, "sent {sent} bytes, got {size} back");
    Ok(())
}

async fn send_for_ever<E, R>(send: E, payload: Bytes) -> Result<Infallible>
where
    E: Fn(Bytes) -> R,
    R: Future<Output = Result<()>>,
{
    loop {
        send(payload.clone()).await?;
        latency::count(1);
    }
}

async fn read_for_ever<E, R, S>(open: E, expected: usize) -> Result<Infallible>
where
    E: Fn() -> R,
    R: Future<Output = Result<S>>,
    S: Stream<Item = Result<usize>>,
{
    let mut items = pin!(open().await?);
    loop {
        let size = items.next().await.context("the stream ended")??;
        ensure!(
            size == expected,
            "asked for items of {expected} bytes, got {size}"
        );
        latency::count(1);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        rc::Rc,
        sync::mpsc::{self, Receiver},
    };

    use anyhow::bail;
    use bytes::Bytes;
    use tokio::task::LocalSet;

    use super::{Event, Load};
    use crate::Workload;

    fn two_callers() -> (Load, Receiver<Event>) {
        let (events, received) = mpsc::channel();
        let load = Load {
            workload: Workload::Unary,
            inflight: 2,
            size: 8,
            events,
        };
        (load, received)
    }

    #[tokio::test]
    async fn a_reply_of_another_size_ends_the_load() {
        let (load, received) = two_callers();
        let ended = load.closed_loop(|_: Bytes| async { Ok(7) }).await;
        assert!(ended.unwrap_err().to_string().contains("got 7 back"));
        assert!(matches!(received.recv().unwrap(), Event::Connected));
    }

    #[tokio::test]
    async fn a_failed_call_ends_the_load() {
        let (load, _received) = two_callers();
        let ended = load
            .closed_loop(|_: Bytes| async { bail!("no such method") })
            .await;
        assert_eq!(ended.unwrap_err().to_string(), "no such method");
    }

    #[tokio::test]
    async fn a_local_load_may_hold_what_stays_on_its_thread() {
        let (load, received) = two_callers();
        let size = Rc::new(7);
        let echo = move |_: Bytes| {
            let size = Rc::clone(&size);
            async move { Ok(*size) }
        };
        let ended = LocalSet::new()
            .run_until(load.closed_loop_local(echo))
            .await;
        assert!(ended.unwrap_err().to_string().contains("got 7 back"));
        assert!(matches!(received.recv().unwrap(), Event::Connected));
    }
}
