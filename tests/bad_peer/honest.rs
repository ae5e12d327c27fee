//! A peer that keeps all rules and makes calls all the time.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::stream;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};
use wawo::{Peer, Result};

use crate::service::{EchoClient, RepeatRequest, Seen, message};

/// Calls in rounds of every shape: unary, streams both ways, one-way.
pub(crate) struct Honest {
    /// The number of rounds that have ended successfully.
    rounds: watch::Receiver<usize>,
    stop: watch::Sender<bool>,
    caller: JoinHandle<Result<usize>>,
    at_server: Arc<Seen>,
    /// Keeps the connection open.
    _peer: Peer,
}

/// The pause between two rounds. With paused time, it lets time pass.
const PAUSE: Duration = Duration::from_millis(5);

/// An attack that lasts longer waits for something that never comes.
const HANGS: Duration = Duration::from_secs(150);

/// An attack of this length must leave room for a round.
const LONG: Duration = Duration::from_secs(1);

impl Honest {
    pub(crate) async fn start(peer: Peer, at_server: Arc<Seen>) -> Self {
        let (count, rounds) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let echo = EchoClient::new(&peer);
        let caller = tokio::spawn(call_until(echo, stopped, count));
        let honest = Self {
            rounds,
            stop,
            caller,
            at_server,
            _peer: peer,
        };
        honest.rounds(1).await;
        honest
    }

    /// Waits until this many more rounds have ended successfully. Two rounds contain at least one
    /// from begin to end.
    pub(crate) async fn rounds(&self, more: usize) {
        let mut rounds = self.rounds.clone();
        let enough = *rounds.borrow() + more;
        let reached = rounds.wait_for(|count| *count >= enough).await;
        reached.expect("an honest call failed");
    }

    /// Runs an attack, and checks that calls go on beside it.
    pub(crate) async fn beside<T>(&self, attack: impl Future<Output = T>) -> T {
        let (began, before) = (Instant::now(), *self.rounds.borrow());
        let watched = async {
            let result = timeout(HANGS, attack).await.expect("it hangs");
            let passed = began.elapsed();
            let rounds = *self.rounds.borrow() - before;
            assert!(rounds > 0 || passed < LONG, "no call in {passed:?}");
            result
        };
        let (result, ()) = tokio::join!(watched, self.rounds(2));
        result
    }

    /// Ends the peer. All calls must have been answered, and all one-way messages must have come.
    pub(crate) async fn leave(self) {
        self.rounds(2).await;
        self.stop.send_replace(true);
        let notes = self
            .caller
            .await
            .expect("no panic")
            .expect("no failed call");
        self.at_server
            .until(|seen| seen.notes.load(Ordering::SeqCst) >= notes)
            .await;
    }
}

/// Returns the number of one-way messages sent.
async fn call_until(
    echo: EchoClient,
    stopped: watch::Receiver<bool>,
    count: watch::Sender<usize>,
) -> Result<usize> {
    while !*stopped.borrow() {
        round(&echo)
            .await
            .inspect_err(|status| eprintln!("{status}"))?;
        count.send_modify(|count| *count += 1);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(*count.borrow())
}

async fn round(echo: &EchoClient) -> Result<()> {
    assert_eq!(echo.say(message("honest")).await?.data, "honest");
    let request = RepeatRequest {
        data: "again".into(),
        times: 3,
    };
    let mut replies = echo.repeat(request).await?;
    for _ in 0..3 {
        let reply = replies.message().await?;
        assert_eq!(reply, Some(message("again")));
    }
    assert_eq!(replies.message().await?, None);
    let requests = stream::iter(["one", "two"].map(message));
    assert_eq!(echo.join(requests).await?.data, "6");
    echo.note(message("honest")).await
}
