//! The lines of a client on their way, and its calls in flight.
//!
//! One task owns the socket. Its two halves run side by side and share the calls:
//!
//! ```text
//!  LineClient ─► commands ─► write: numbers calls, and cancels those whose answers nobody wants
//!       ▲                      │ begins                 ▲
//!       │                      ▼                        │ the receiver of a call is dropped
//!     answers ◄─ Calls: number to sender ◄─ read ─ socket
//! ```
//!
//! If one half ends, the task ends, and with the calls their senders: who waits learns that the
//! connection is over.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use futures::{
    FutureExt as _, SinkExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered,
};
use tokio::sync::mpsc;
use tokio_util::codec::LinesCodecError;
use wawo::{Status, Transport};

use crate::{
    client::MAX_WAITING_ANSWERS,
    line::{Answer, CallNumber, CallerLine, MAX_TIMEOUT, ServerLine},
    socket::{Reads, Socket, Writes},
};

/// A method and a message for it.
#[derive(Debug)]
pub(crate) struct OutgoingCall {
    pub(crate) path: String,
    pub(crate) message: Bytes,
}

impl OutgoingCall {
    /// The length of its line, with the longest number and the longest time.
    pub(crate) fn max_line_bytes(&self) -> usize {
        // The longest number takes 20 digits, the longest time 10, and `call` with four spaces 8.
        38 + self.path.len() + 2 * self.message.len()
    }

    pub(crate) fn one_way(self) -> CallerLine {
        CallerLine::Send {
            path: self.path,
            message: self.message,
        }
    }

    /// The time that is left is told, since the two sides have different clocks.
    fn call(self, number: CallNumber, deadline: Option<Instant>) -> CallerLine {
        let now = tokio::time::Instant::now().into_std();
        let left = |deadline: Instant| deadline.saturating_duration_since(now);
        CallerLine::Call {
            number,
            path: self.path,
            timeout: deadline.map(|deadline| left(deadline).min(MAX_TIMEOUT)),
            message: self.message,
        }
    }
}

/// A command of a client to its connection.
#[derive(Debug)]
pub(crate) enum Command {
    Call(OutgoingCall, Option<Instant>, mpsc::Sender<Answer>),
    /// A one-way message.
    Send(CallerLine),
}

/// Carries calls until the last client has gone, or the socket ends.
pub(crate) async fn run(
    transport: impl Transport,
    hello: CallerLine,
    commands: mpsc::Receiver<Command>,
    max_calls: usize,
) {
    let Socket {
        mut reads,
        mut writes,
    } = Socket::over(transport);
    let calls = Calls::default();
    let writing = Writing {
        calls: &calls,
        given_up: FuturesUnordered::new(),
        last_number: 0,
        max_calls,
    };
    // Calls learn how their connection ended by its end alone.
    tokio::select! {
        _ = writing.run(&mut writes, hello, commands) => {}
        () = read(&mut reads, &calls) => {}
    }
}

/// Gives answers to their calls, until a line is none or there are no more.
async fn read<T: Transport>(reads: &mut Reads<T>, calls: &Calls) {
    while let Some(Ok(line)) = reads.next().await {
        match ServerLine::parse(&line) {
            Some(ServerLine::Answer(number, answer)) => calls.answered(number, answer),
            Some(ServerLine::Bye(_)) | None => return,
        }
    }
}

/// Calls in flight, by their numbers.
#[derive(Default)]
struct Calls(Mutex<HashMap<CallNumber, mpsc::Sender<Answer>>>);

impl Calls {
    fn lock(&self) -> MutexGuard<'_, HashMap<CallNumber, mpsc::Sender<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer of a call that has ended or was cancelled is late, and dropped.
    fn answered(&self, number: CallNumber, answer: Answer) {
        let mut calls = self.lock();
        let Some(call) = calls.get(&number) else {
            return;
        };
        let is_last = answer.is_last();
        match call.capacity() {
            // The last place is for a status. The reader drops the stream when it comes to that, and so
            // cancels the call.
            1 if !is_last => {
                let text = format!(
                    "the stream was cut: {MAX_WAITING_ANSWERS} answers waited for their reader"
                );
                let _ = call.try_send(Answer::Fail(Status::resource_exhausted(text)));
            }
            _ => {
                let _ = call.try_send(answer);
                if is_last {
                    calls.remove(&number);
                }
            }
        }
    }
}

/// The half that writes.
struct Writing<'a> {
    calls: &'a Calls,
    /// One for each call in flight: it resolves when nobody wants the answers any more, which is also
    /// the case when all of them were taken.
    given_up: FuturesUnordered<BoxFuture<'static, CallNumber>>,
    last_number: u64,
    max_calls: usize,
}

impl Writing<'_> {
    async fn run<T: Transport>(
        mut self,
        writes: &mut Writes<T>,
        hello: CallerLine,
        mut commands: mpsc::Receiver<Command>,
    ) -> Result<(), LinesCodecError> {
        writes.send(hello.to_string()).await?;
        loop {
            let line = tokio::select! {
                biased;
                Some(number) = self.given_up.next() => self.cancel(number),
                command = commands.recv(), if self.given_up.len() < self.max_calls => {
                    match command {
                        Some(command) => self.begin(command),
                        None => return Ok(()),
                    }
                }
            };
            if let Some(line) = line {
                writes.send(line.to_string()).await?;
            }
        }
    }

    /// Nothing, if the call has ended.
    fn cancel(&self, number: CallNumber) -> Option<CallerLine> {
        let is_in_flight = self.calls.lock().remove(&number).is_some();
        is_in_flight.then_some(CallerLine::Cancel(number))
    }

    /// Nothing, if the call was given up while it waited.
    fn begin(&mut self, command: Command) -> Option<CallerLine> {
        let (call, deadline, answers) = match command {
            Command::Send(line) => return Some(line),
            Command::Call(_, _, answers) if answers.is_closed() => return None,
            Command::Call(call, deadline, answers) => (call, deadline, answers),
        };
        self.last_number += 1;
        let number = CallNumber(self.last_number);
        self.calls.lock().insert(number, answers.clone());
        let given_up = async move {
            answers.closed().await;
            number
        };
        self.given_up.push(given_up.boxed());
        Some(call.call(number, deadline))
    }
}
