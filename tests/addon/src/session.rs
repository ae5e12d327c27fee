//! The calls of a guest, until its connection is over.
//!
//! ```text
//!  socket ─► reads ─► Calls: a task for each call ─► guest.call(request) ─► services
//!  socket ◄─ writes ◄─ answers (a queue) ◄───────────────────┘
//! ```
//!
//! Reads and writes do not wait for each other, so that no two sides wait for each other to read. A guest
//! reads no further while it has one call more than it may have in flight: that one is refused, and the
//! others wait in the socket.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio::{
    io::AsyncWriteExt as _,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::{codec::LinesCodecError, task::JoinMap};
use wawo::{
    Body, ConnectionError, Gateway, Guest, MethodDescriptor, MethodId, Request, Response,
    ResponseFuture, ServiceId, Status, Transport,
};

use crate::{
    line::{Answer, CallNumber, CallerLine, MAX_LINE_BYTES, ServerLine},
    socket::{Reads, Socket, Writes, into_io},
};

/// Answers that wait to be written. The tasks of calls wait while there are more.
const MAX_WAITING_ANSWERS: usize = 16;

/// The time in which a peer that was closed may read its last answers.
const BYE_TIMEOUT: Duration = Duration::from_secs(1);

/// One connection of the protocol, on the side that serves.
pub(crate) struct Session<T> {
    socket: Socket<T>,
    answers: mpsc::Receiver<ServerLine>,
    calls: Calls,
}

impl<T: Transport> Session<T> {
    pub(crate) fn new(socket: Socket<T>, gateway: Gateway, guest: Guest) -> Self {
        let (sender, answers) = mpsc::channel(MAX_WAITING_ANSWERS);
        let calls = Calls {
            gateway,
            guest,
            tasks: JoinMap::new(),
            answers: sender,
        };
        Self {
            socket,
            answers,
            calls,
        }
    }

    /// Serves until the socket ends, or until the application closes the peer; a drain closes it when its
    /// last call has ended. Calls that are left then are cancelled.
    pub(crate) async fn run(mut self) {
        let guest = self.calls.guest.clone();
        let Socket { reads, writes } = &mut self.socket;
        tokio::select! {
            biased;
            reason = guest.closed() => {
                // A peer that does not read its last lines misses them.
                let _ = timeout(BYE_TIMEOUT, self.say_bye(reason)).await;
            }
            error = read(reads, &mut self.calls) => guest.end(&lost(error)),
            error = write(writes, &mut self.answers) => guest.end(&lost(error)),
        }
    }

    /// Writes the answers of calls that have ended with their peer, and why that was closed.
    async fn say_bye(self, reason: String) -> Result<(), LinesCodecError> {
        let Self {
            socket: Socket { mut writes, .. },
            mut answers,
            calls:
                Calls {
                    tasks,
                    answers: sender,
                    ..
                },
        } = self;
        // The tasks have senders of their own: the queue ends when the last of them has ended.
        drop(sender);
        while let Some(line) = answers.recv().await {
            writes.feed(line.to_string()).await?;
        }
        drop(tasks);
        writes.send(ServerLine::Bye(reason).to_string()).await?;
        Ok(writes.get_mut().shutdown().await?)
    }
}

/// Reads lines until there are no more.
async fn read<T: Transport>(reads: &mut Reads<T>, calls: &mut Calls) -> io::Error {
    let max_calls = calls.gateway.config().limits().max_calls as usize;
    loop {
        tokio::select! {
            biased;
            Some(_) = calls.tasks.join_next() => {}
            line = reads.next(), if calls.tasks.len() <= max_calls => {
                let handled = match line {
                    Some(Ok(line)) => calls.handle(&line).await,
                    Some(Err(error)) => Err(into_io(error)),
                    None => Err(io::ErrorKind::UnexpectedEof.into()),
                };
                if let Err(error) = handled {
                    return error;
                }
            }
        }
    }
}

/// Writes answers until that fails.
async fn write<T: Transport>(
    writes: &mut Writes<T>,
    answers: &mut mpsc::Receiver<ServerLine>,
) -> io::Error {
    while let Some(line) = answers.recv().await {
        if let Err(error) = writes.send(line.to_string()).await {
            return into_io(error);
        }
    }
    // Not reached: the session has a sender.
    io::ErrorKind::UnexpectedEof.into()
}

/// The calls of a guest.
struct Calls {
    gateway: Gateway,
    guest: Guest,
    /// Dropping one of them cancels its call.
    tasks: JoinMap<CallNumber, ()>,
    answers: mpsc::Sender<ServerLine>,
}

impl Calls {
    async fn handle(&mut self, line: &str) -> io::Result<()> {
        match CallerLine::parse(line) {
            Some(CallerLine::Call {
                number,
                path,
                timeout,
                message,
            }) => {
                let reply = self.guest.call(self.request(&path, timeout, message));
                let answers = self.answers.clone();
                // A number that is in use already loses its first call: its caller has mixed them up.
                self.tasks.spawn(number, answer(number, reply, answers));
            }
            Some(CallerLine::Send { path, message }) => {
                let (service, method) = self.ids(&path);
                let request = Request::by_id(service, method, true, Body::One(message.into()));
                // Ready at once: a one-way message is handled in a task. Nobody hears of a refusal.
                let _ = self.guest.call(request).await;
            }
            Some(CallerLine::Cancel(number)) => drop(self.tasks.abort(&number)),
            Some(CallerLine::Hello(_)) | None => {
                let text = format!(
                    "not a line of a call: {:.100}",
                    line.escape_debug().to_string()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        Ok(())
    }

    /// The request of a call. Its time is what its caller says, within the limits of the server.
    fn request(&self, path: &str, timeout: Option<Duration>, message: Bytes) -> Request {
        let body = Body::One(message.into());
        let mut request = match self.method(path) {
            Some(method) => Request::new(&method, body),
            None => {
                let (service, method) = self.ids(path);
                Request::by_id(service, method, false, body)
            }
        };
        match timeout {
            Some(timeout) => {
                let deadline = (Instant::now() + timeout).into_std();
                request.set_deadline(Some(deadline));
            }
            None => request.set_no_deadline(),
        }
        request
    }

    /// The method with this full name, if the server has it now.
    fn method(&self, path: &str) -> Option<MethodDescriptor> {
        let (service, method) = path.rsplit_once('/')?;
        let service = self.gateway.service(service)?;
        service.method_by_name(method).cloned()
    }

    /// The numbers of a method: those of its schema, or else those that follow from its name. A
    /// [fallback](wawo::ServerBuilder::fallback) may know them.
    fn ids(&self, path: &str) -> (ServiceId, MethodId) {
        match self.method(path) {
            Some(method) => (method.service(), method.id()),
            None => {
                let (service, method) = path.rsplit_once('/').unwrap_or((path, ""));
                (ServiceId::of(service), MethodId::of(method))
            }
        }
    }
}

/// Sends the answers to a call on their way.
async fn answer(number: CallNumber, reply: ResponseFuture, answers: mpsc::Sender<ServerLine>) {
    let send = async |answer| {
        let line = ServerLine::Answer(number, answer);
        // Without a receiver the session is over, and this task about to be aborted.
        let _ = answers.send(line).await;
    };
    let last = match reply.await.map(Response::into_parts) {
        Ok((_, Body::One(message))) => fit(Answer::Reply(message.into_bytes())),
        Ok((_, Body::Many(mut replies))) => {
            send(Answer::Stream).await;
            loop {
                match replies.message().await {
                    Ok(Some(message)) => match fit(Answer::Item(message)) {
                        item @ Answer::Item(_) => send(item).await,
                        too_long => break too_long,
                    },
                    Ok(None) => break Answer::End,
                    Err(status) => break Answer::Fail(status),
                }
            }
        }
        Err(status) => Answer::Fail(status),
    };
    send(last).await;
}

/// The answer, or a status in its place if its message is too long for a line.
fn fit(answer: Answer) -> Answer {
    // The longest number takes 20 bytes, the longest verb 5, and there are two spaces.
    const MAX_MESSAGE_BYTES: usize = (MAX_LINE_BYTES - 27) / 2;
    match &answer {
        Answer::Reply(message) | Answer::Item(message) if message.len() > MAX_MESSAGE_BYTES => {
            let text = format!(
                "a reply of {} bytes does not fit into a line; the limit is {MAX_MESSAGE_BYTES}",
                message.len()
            );
            Answer::Fail(Status::resource_exhausted(text))
        }
        _ => answer,
    }
}

/// The end of a connection that the other side or the network caused.
fn lost(error: io::Error) -> ConnectionError {
    ConnectionError::Lost(Arc::new(error))
}
