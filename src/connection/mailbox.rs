//! The mailbox of a connection, in which all holders of a peer leave commands for the driver.

mod command;
mod early;
mod line;
mod room;
mod unsent;
mod watch;

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Waker},
};

use wawo_protocol::{ConnectionError, MethodId, Refusal, ServiceId, packet::OneWayBatch};

use crate::connection::mailbox::line::{Line, LineEntry, Lines, MailboxCall, WaitingRequest};
pub(crate) use crate::connection::mailbox::{
    command::{Command, HandlerId, PlainRequest},
    early::EarlyCommands,
    line::{Capacity, no_room, no_room_within},
    unsent::UnsentMessages,
};

use crate::{
    backstop,
    connection::deadline_watch::{DeadlineWatch, WatchedCall},
    response::Response,
    response_future::ResponseSlot,
    status::Status,
};

/// The commands for one driver.
///
/// Calls and messages need room. At most `max_commands` commands and [`MAX_BYTES`] of messages wait; none
/// may be added while the driver has too much to write. Commands that end work or report reads always
/// have room: the number of calls bounds the former. Credit bounds the latter, since the credit of a read
/// message is returned only when the driver takes the report.
///
/// A caller that finds no room [lines up](Mailbox::line_up) and leaves its request in the line. When
/// there is room again, requests become commands in the order in which they came. Nobody has to be woken
/// for that, and no later caller is served before. Each kind of request has a [`Line`] of its own,
/// because a request must not wait behind requests that may have to wait for it to be handled.
///
/// A caller that waits to be ready, as tower asks for, stands in the line without a request. It is woken
/// when it is first in line and there is room. Nothing is reserved for it: if it never calls, nobody
/// waits for it, and if others call first, its call lines up again. Once the other side drains, such
/// callers are told so, and none waits.
pub(crate) struct Mailbox {
    state: Mutex<State>,
    /// The connection that this mailbox belongs to, which the backstop looks at.
    owner: Weak<dyn backstop::WatchTarget>,
}

#[derive(Debug)]
struct State {
    commands: Vec<Command>,
    /// The bytes of messages in `commands`.
    bytes: usize,
    /// The number of one-way messages in batches in `commands`.
    one_way_messages: usize,
    /// How many more commands the driver takes, of each kind.
    capacity: Capacity,
    /// How many commands may wait, even if the driver would take more.
    max_commands: usize,
    /// The requests and callers that wait for room.
    lines: Lines,
    driver: Option<Waker>,
    /// The deadlines of calls that the driver has taken.
    watch: DeadlineWatch,
    /// Whether the other side drains: it takes no more calls.
    is_draining_there: bool,
    closed: Option<ConnectionError>,
}

/// How many commands may wait in a mailbox, at most.
const MAX_COMMANDS: usize = 16 * 1024;

/// How many message bytes may wait in a mailbox. A single message may have more.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// One-way messages are gathered in a batch up to this length in bytes; more begin the next batch.
const ONE_WAY_BATCH_BYTES: usize = 16 * 1024;

/// Why a command was not taken.
#[derive(Debug)]
pub(crate) enum PushError<C> {
    /// There is no room; it gives the command back.
    Full(C),
    /// The connection is over.
    Closed(ConnectionError),
}

impl Mailbox {
    /// Creates the mailbox of a connection in which `max_waiting_calls` calls may wait for the other
    /// side's limits. The driver takes no more when half of them wait. The commands that are in the
    /// mailbox at that time have room in the other half.
    pub(crate) fn new(max_waiting_calls: usize, owner: Weak<dyn backstop::WatchTarget>) -> Self {
        let max_commands = (max_waiting_calls / 2).min(MAX_COMMANDS);
        Self {
            state: Mutex::new(State {
                commands: Vec::new(),
                bytes: 0,
                one_way_messages: 0,
                capacity: Capacity::ANY,
                max_commands,
                lines: Lines::default(),
                driver: None,
                watch: DeadlineWatch::default(),
                is_draining_there: false,
                closed: None,
            }),
            owner,
        }
    }

    /// Leaves a command that needs room for this many message bytes.
    #[allow(
        clippy::result_large_err,
        reason = "what was not taken goes back whole"
    )]
    pub(crate) fn push(&self, command: Command, bytes: usize) -> Result<(), PushError<Command>> {
        let mut state = self.lock();
        if let Some(error) = &state.closed {
            return Err(PushError::Closed(error.clone()));
        }
        let line = match &command {
            Command::OneWay(request) => Line::of(request),
            _ => Line::Outer,
        };
        if !state.takes(line, bytes) {
            return Err(PushError::Full(command));
        }
        state.bytes += bytes;
        state.commands.push(command);
        let driver = state.driver.take();
        drop(state);
        wake(driver);
        Ok(())
    }

    /// Leaves a call, which `command` builds; returns the slot for its reply.
    pub(crate) fn push_call<C: MailboxCall>(
        &self,
        call: C,
        bytes: usize,
        command: fn(C, Arc<ResponseSlot>) -> Command,
    ) -> Result<Arc<ResponseSlot>, PushError<C>> {
        let mut state = self.lock();
        if let Some(error) = &state.closed {
            return Err(PushError::Closed(error.clone()));
        }
        if !state.takes(call.line(), bytes) {
            return Err(PushError::Full(call));
        }
        let slot = state.watch.slot();
        state.bytes += bytes;
        state.commands.push(command(call, slot.clone()));
        let driver = state.driver.take();
        let is_watched = mem::replace(&mut state.watch.is_asked, true);
        drop(state);
        wake(driver);
        if !is_watched {
            self.ask_backstop();
        }
        Ok(slot)
    }

    #[cold]
    fn ask_backstop(&self) {
        if !backstop::watch(self.owner.clone()) {
            self.lock().watch.is_asked = false;
        }
    }

    /// Leaves a one-way message that has the default timeout. Only its bytes are kept, in a batch with
    /// the one-way messages before it.
    pub(crate) fn push_one_way(
        &self,
        service: ServiceId,
        method: MethodId,
        message: &[u8],
    ) -> Result<(), PushError<()>> {
        let mut state = self.lock();
        if let Some(error) = &state.closed {
            return Err(PushError::Closed(error.clone()));
        }
        if !state.takes(Line::Outer, message.len()) {
            return Err(PushError::Full(()));
        }
        state.add_one_way(service, method, message);
        let driver = state.driver.take();
        drop(state);
        wake(driver);
        Ok(())
    }

    /// Leaves a command that ends a call or a stream. It is dropped if the connection is over, as then
    /// all have ended.
    pub(crate) fn push_end(&self, command: Command) {
        let mut state = self.lock();
        if state.closed.is_some() {
            return;
        }
        state.commands.push(command);
        let driver = state.driver.take();
        drop(state);
        wake(driver);
    }

    /// Takes all commands, into an empty list. Requests in line get the room at the next
    /// [`set_capacity`](Self::set_capacity).
    pub(crate) fn take(&self, commands: &mut Vec<Command>) {
        let mut state = self.lock();
        mem::swap(&mut state.commands, commands);
        state.bytes = 0;
        state.one_way_messages = 0;
    }

    /// Whether one of the commands closes the connection.
    pub(crate) fn has_close(&self) -> bool {
        let is_close = |command: &Command| matches!(command, Command::Close(..));
        self.lock().commands.iter().any(is_close)
    }

    /// Sets how many commands the driver takes. As many requests in line become commands, which the
    /// driver has to look for.
    pub(crate) fn set_capacity(&self, commands: Capacity, wakers: &mut Vec<Waker>) {
        let mut state = self.lock();
        state.capacity = commands;
        state.admit(wakers);
    }

    /// Sets the capacity after commands were taken; `started` are the calls with deadlines among them.
    pub(crate) fn set_capacity_and_watch(
        &self,
        commands: Capacity,
        started: &mut Vec<WatchedCall>,
        wakers: &mut Vec<Waker>,
    ) {
        let mut state = self.lock();
        while let Some(call) = started.pop() {
            state.watch.add(call);
        }
        state.capacity = commands;
        state.admit(wakers);
    }

    /// Whether there are commands; if not, the next one wakes the driver.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> bool {
        let mut state = self.lock();
        let has_some = !state.commands.is_empty();
        if !has_some {
            match &mut state.driver {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        has_some
    }

    /// Closes the mailbox: it takes no more commands. Returns those that are here.
    pub(crate) fn close(&self, error: &ConnectionError, wakers: &mut Vec<Waker>) -> Vec<Command> {
        let mut state = self.lock();
        state.closed = Some(error.clone());
        state.driver = None;
        let (commands, lines) = (mem::take(&mut state.commands), mem::take(&mut state.lines));
        let watch = mem::take(&mut state.watch);
        // Dropping a request may leave commands, which takes the same lock.
        drop(state);
        drop(watch);
        for entry in lines.into_entries() {
            wakers.extend(match entry {
                LineEntry::Request(waiting) => {
                    waiting.slot.complete(Err(Status::from_closed(error)))
                }
                LineEntry::Caller(waker) => Some(waker),
            });
        }
        commands
    }

    /// Why the connection is over, if it is over.
    pub(crate) fn closed(&self) -> Option<ConnectionError> {
        self.lock().closed.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Why no call can be made any more, if none can.
    fn refusal(&self) -> Option<Status> {
        match &self.closed {
            Some(error) => Some(Status::from_closed(error)),
            None if self.is_draining_there => Some(Status::from_refusal(&Refusal::Draining)),
            None => None,
        }
    }

    /// Whether there is room for this many bytes, and no request in the line waits for it.
    fn takes(&self, line: Line, bytes: usize) -> bool {
        self.lines.is_free(line) && self.has_room(line, bytes)
    }

    fn has_room(&self, line: Line, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= MAX_BYTES || self.bytes == 0;
        let free = self.capacity.of(line).min(self.max_commands);
        fits && self.commands.len() + self.one_way_messages < free
    }

    fn add_one_way(&mut self, service: ServiceId, method: MethodId, message: &[u8]) {
        self.bytes += message.len();
        self.one_way_messages += 1;
        match self.commands.last_mut() {
            Some(Command::OneWayBatch(batch)) if batch.packet_bytes() < ONE_WAY_BATCH_BYTES => {
                batch.push(service, method, message);
            }
            last => {
                // If the last command is a batch too, many messages are likely to follow, so this one
                // gets a large buffer.
                let many = matches!(last, Some(Command::OneWayBatch(_)));
                let mut batch =
                    OneWayBatch::with_capacity(if many { ONE_WAY_BATCH_BYTES } else { 0 });
                batch.push(service, method, message);
                self.commands.push(Command::OneWayBatch(batch));
            }
        }
    }

    /// Takes the next entry that has room out of its line.
    fn next_admitted(&mut self) -> Option<LineEntry> {
        let line = self.lines.first(|line, bytes| self.has_room(line, bytes))?;
        self.lines.pop(line)
    }

    /// Admits as many entries as there is room for; returns the driver's waker if there are new commands.
    fn admit(&mut self, wakers: &mut Vec<Waker>) -> Option<Waker> {
        let mut driver = None;
        while let Some(first) = self.next_admitted() {
            match first {
                LineEntry::Caller(waker) => wakers.push(waker),
                LineEntry::Request(waiting) => {
                    self.add_waiting(*waiting, wakers);
                    driver = driver.or_else(|| self.driver.take());
                }
            }
        }
        driver
    }

    fn add_waiting(&mut self, waiting: WaitingRequest, wakers: &mut Vec<Waker>) {
        let WaitingRequest {
            request,
            bytes,
            slot,
        } = waiting;
        self.bytes += bytes;
        self.commands.push(match request.is_one_way() {
            false => Command::Call(request, slot),
            true => {
                wakers.extend(slot.complete(Ok(Response::empty())));
                Command::OneWay(request)
            }
        });
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

#[cfg(test)]
mod tests;
