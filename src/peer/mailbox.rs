//! Where everyone who holds a peer leaves commands for its driver.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use tokio::sync::{Notify, oneshot};
use wawo_protocol::{
    CallId, ConnectionError, MethodId, ServiceId,
    packet::{Messages, Notes},
};

use crate::{
    peer::{
        PeerSnapshot,
        stream::{Inbox, Outbox, Read},
    },
    reply::ReplySlot,
    request::Request,
    response::Response,
    status::{Result, Status},
};

/// What a driver is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Start a call, and put the answer into the slot.
    Call(Request, Arc<ReplySlot>),
    /// Send a one-way message.
    Send(Request),
    /// Send one-way messages that are packets already.
    Notes(Notes),
    /// Nobody waits for the answer any more.
    Cancel(Arc<ReplySlot>),
    /// A handler has ended.
    Answer(Handled, Result<Response>),
    /// The handler of a one-way message has ended; the credit that the message had cost.
    Served(u64),
    /// The next messages of a stream.
    Messages(Arc<Outbox>, Messages),
    /// A stream has ended.
    Finish(Arc<Outbox>, Result<()>),
    /// Messages of a stream were read.
    Consumed(Arc<Inbox>, Read),
    /// A stream is no longer read.
    Abandoned(Arc<Inbox>),
    /// Take no more calls, and close when all is done.
    Drain,
    /// Say what the connection holds.
    Snapshot(oneshot::Sender<PeerSnapshot>),
    /// Close the connection.
    Close(String),
}

/// Which handler a [`Command::Answer`] is about. Ids are used again, so the serial number tells
/// whether the call it worked on is still the one with that id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handled {
    pub(crate) call: CallId,
    pub(crate) serial: u64,
}

/// The commands for one driver, and its end.
///
/// Calls and messages need room: no more than `max_commands` commands and [`MAX_BYTES`] of
/// messages wait, and none while the driver has more to write than it likes. What ends work, or
/// tells what was read, always has room: calls bound the former, and credit the latter, since what
/// was read is granted again only when the driver has heard of it.
#[derive(Debug)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    /// Commands that may wait.
    max_commands: usize,
    /// Tells those who wait for room.
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    commands: Vec<Command>,
    /// Message bytes in `commands`.
    bytes: usize,
    /// One-way messages that gathered in `commands`.
    notes: usize,
    /// The driver has enough to do.
    is_full: bool,
    driver: Option<Waker>,
    closed: Option<ConnectionError>,
}

/// Commands that may wait, at the most.
const MAX_COMMANDS: usize = 16 * 1024;

/// Message bytes that may wait, unless a single message has more.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// One-way messages gather in packets up to this length, and then in the next ones.
const NOTES_BYTES: usize = 16 * 1024;

/// Why a command was not taken.
#[derive(Debug)]
pub(crate) enum NotTaken<C> {
    /// There is no room; gives the command back.
    Full(C),
    /// The connection is over.
    Closed(ConnectionError),
}

impl Mailbox {
    /// A mailbox for a connection that lets so many calls wait. When half of them do, its driver
    /// takes no more; what is here by then has room in the other half.
    pub(crate) fn new(max_waiting_calls: usize) -> Self {
        Self {
            state: Mutex::default(),
            max_commands: (max_waiting_calls / 2).clamp(1, MAX_COMMANDS),
            room: Notify::new(),
        }
    }

    /// Leaves a command that needs room for so many message bytes.
    #[allow(
        clippy::result_large_err,
        reason = "what was not taken goes back whole"
    )]
    pub(crate) fn push(&self, command: Command, bytes: usize) -> Result<(), NotTaken<Command>> {
        let mut state = self.lock();
        if let Some(error) = &state.closed {
            return Err(NotTaken::Closed(error.clone()));
        }
        if !state.has_room(bytes, self.max_commands) {
            return Err(NotTaken::Full(command));
        }
        state.bytes += bytes;
        state.commands.push(command);
        let driver = state.driver.take();
        drop(state);
        wake(driver);
        Ok(())
    }

    /// Leaves a one-way message that has the default timeout. Nothing but its bytes is kept, behind
    /// those before it.
    pub(crate) fn push_note(
        &self,
        service: ServiceId,
        method: MethodId,
        message: &[u8],
    ) -> Result<(), NotTaken<()>> {
        let mut state = self.lock();
        if let Some(error) = &state.closed {
            return Err(NotTaken::Closed(error.clone()));
        }
        if !state.has_room(message.len(), self.max_commands) {
            return Err(NotTaken::Full(()));
        }
        state.bytes += message.len();
        state.notes += 1;
        match state.commands.last_mut() {
            Some(Command::Notes(notes)) if notes.packet_bytes() < NOTES_BYTES => {
                notes.push(service, method, message);
            }
            last => {
                // Behind others, many are likely to follow.
                let many = matches!(last, Some(Command::Notes(_)));
                let mut notes = Notes::with_capacity(if many { NOTES_BYTES } else { 0 });
                notes.push(service, method, message);
                state.commands.push(Command::Notes(notes));
            }
        }
        let driver = state.driver.take();
        drop(state);
        wake(driver);
        Ok(())
    }

    /// Leaves a command that ends something. Lost if the connection is over, where all has ended.
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

    /// Waits until there is room for so many bytes, or the connection is over.
    pub(crate) async fn room(&self, bytes: usize) {
        loop {
            // Registered before the look, so that no change is missed.
            let changed = self.room.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_settled(bytes) {
                return;
            }
            changed.await;
        }
    }

    fn is_settled(&self, bytes: usize) -> bool {
        let state = self.lock();
        state.closed.is_some() || state.has_room(bytes, self.max_commands)
    }

    /// Takes all commands, into an empty list. `is_full` says whether the driver has so much to
    /// write that it wants no more for now.
    pub(crate) fn take(&self, commands: &mut Vec<Command>) {
        let mut state = self.lock();
        mem::swap(&mut state.commands, commands);
        state.bytes = 0;
        state.notes = 0;
    }

    /// Says whether the driver wants more. Those who wait for room look again.
    pub(crate) fn set_full(&self, is_full: bool) {
        let mut state = self.lock();
        state.is_full = is_full;
        drop(state);
        if !is_full {
            self.room.notify_waiters();
        }
    }

    /// Whether there are commands; if not, the driver is woken by the next one.
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

    /// The connection is over: takes no more commands, and gives back those that are here.
    pub(crate) fn close(&self, error: ConnectionError) -> Vec<Command> {
        let mut state = self.lock();
        state.closed = Some(error);
        state.driver = None;
        let commands = mem::take(&mut state.commands);
        drop(state);
        self.room.notify_waiters();
        commands
    }

    /// Why the connection is over, if it is.
    pub(crate) fn closed(&self) -> Option<ConnectionError> {
        self.lock().closed.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, bytes: usize, max_commands: usize) -> bool {
        let fits = self.bytes + bytes <= MAX_BYTES || self.bytes == 0;
        !self.is_full && fits && self.commands.len() + self.notes < max_commands
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The status of a call that could not be given to the driver.
pub(crate) fn not_sent(error: &ConnectionError) -> Status {
    Status::unavailable(format!("the call was not sent: {error}"))
        .with_source(error.clone())
        .with_delivery(crate::status::Delivery::NotSent)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wawo_protocol::{ConnectionError, MethodId, ServiceId};

    use super::{Command, MAX_BYTES, MAX_COMMANDS, Mailbox, NOTES_BYTES, NotTaken};

    fn command() -> Command {
        Command::Served(0)
    }

    #[test]
    fn commands_are_bounded_and_ends_are_not_refused() {
        let mailbox = Mailbox::new(usize::MAX);
        for _ in 0..MAX_COMMANDS {
            mailbox.push(command(), 0).unwrap();
        }
        assert!(matches!(mailbox.push(command(), 0), Err(NotTaken::Full(_))));
        mailbox.push_end(command());
        let mut commands = Vec::new();
        mailbox.take(&mut commands);
        assert_eq!(commands.len(), MAX_COMMANDS + 1);
        mailbox.push(command(), 0).unwrap();
    }

    #[test]
    fn notes_gather_in_order_and_are_bounded_as_commands_are() {
        let mailbox = Mailbox::new(usize::MAX);
        let push = |text: &str| mailbox.push_note(ServiceId(1), MethodId(2), text.as_bytes());
        push("one").unwrap();
        push("two").unwrap();
        mailbox.push(command(), 0).unwrap();
        push("three").unwrap();
        let mut commands = Vec::new();
        mailbox.take(&mut commands);
        let [Command::Notes(two), Command::Served(_), Command::Notes(one)] = &commands[..] else {
            panic!("{commands:?}");
        };
        assert_eq!((two.len(), one.len()), (2, 1));

        let taken = (0..2 * MAX_COMMANDS)
            .take_while(|_| push("again").is_ok())
            .count();
        assert!(
            (MAX_COMMANDS * 9 / 10..=MAX_COMMANDS).contains(&taken),
            "{taken}"
        );
        assert!(matches!(push("again"), Err(NotTaken::Full(()))));
        let error = mailbox.push(command(), 0);
        assert!(matches!(error, Err(NotTaken::Full(_))));
        let mut commands = Vec::new();
        mailbox.take(&mut commands);
        for command in &commands {
            let Command::Notes(notes) = command else {
                panic!("{command:?}");
            };
            assert!(notes.packet_bytes() < NOTES_BYTES + 100);
        }
        push(&"x".repeat(MAX_BYTES)).unwrap();
        assert!(matches!(push("y"), Err(NotTaken::Full(()))));
        mailbox.close(ConnectionError::ClosedHere);
        assert!(matches!(push(""), Err(NotTaken::Closed(_))));
    }

    #[test]
    fn bytes_are_bounded_but_one_message_of_any_size_has_room() {
        let mailbox = Mailbox::new(usize::MAX);
        mailbox.push(command(), MAX_BYTES + 1).unwrap();
        assert!(matches!(mailbox.push(command(), 1), Err(NotTaken::Full(_))));
        mailbox.take(&mut Vec::new());
        mailbox.push(command(), MAX_BYTES).unwrap();
        assert!(matches!(mailbox.push(command(), 1), Err(NotTaken::Full(_))));
        let _ = Bytes::new();
    }

    #[tokio::test]
    async fn who_waits_for_room_hears_of_it_and_of_the_end() {
        let mailbox = std::sync::Arc::new(Mailbox::new(usize::MAX));
        for end in [false, true] {
            mailbox.set_full(true);
            assert!(matches!(mailbox.push(command(), 0), Err(NotTaken::Full(_))));
            let waiting = tokio::spawn({
                let mailbox = mailbox.clone();
                async move { mailbox.room(0).await }
            });
            tokio::task::yield_now().await;
            match end {
                false => mailbox.set_full(false),
                true => drop(mailbox.close(ConnectionError::ClosedHere)),
            }
            waiting.await.unwrap();
        }
        assert!(matches!(
            mailbox.push(command(), 0),
            Err(NotTaken::Closed(_))
        ));
    }
}
