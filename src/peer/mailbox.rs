//! Where everyone who holds a peer leaves commands for its driver.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use tokio::sync::oneshot;
use wawo_protocol::{
    CallId, CloseCode, ConnectionError, MethodId, Payload, ServiceId,
    packet::{Messages, Notes},
};

use crate::{
    body::Body,
    peer::{
        PeerSnapshot, no_room, sent,
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
    /// The same for a call with nothing but a message, as most are.
    PlainCall(PlainCall, Arc<ReplySlot>),
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
    Close(CloseCode, String),
    /// The same, if its hello has not come, and nothing else since the last time.
    CloseIfSilent(String),
}

/// A call with the default timeout and nothing but a message.
#[derive(Debug)]
pub(crate) struct PlainCall {
    pub(crate) service: ServiceId,
    pub(crate) method: MethodId,
    pub(crate) message: Payload,
}

impl From<PlainCall> for Request {
    fn from(call: PlainCall) -> Self {
        Self::by_id(call.service, call.method, false, Body::One(call.message))
    }
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
///
/// Who finds no room lines up, and leaves the request in the line. When there is room again, as
/// many requests as fit become commands, in the order in which they came; nobody has to be woken
/// for that, and nobody who comes later is served before.
#[derive(Debug)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    /// Commands that may wait.
    max_commands: usize,
}

#[derive(Debug)]
struct State {
    commands: Vec<Command>,
    /// Message bytes in `commands`.
    bytes: usize,
    /// One-way messages that gathered in `commands`.
    notes: usize,
    /// How many commands the driver would take.
    wanted: usize,
    /// Requests that wait for room, by the order in which they came.
    line: BTreeMap<u64, Box<Waiting>>,
    /// How many have ever stood in the line.
    lined_up: u64,
    driver: Option<Waker>,
    closed: Option<ConnectionError>,
}

/// A request that waits for room, of so many message bytes.
#[derive(Debug)]
struct Waiting {
    request: Request,
    bytes: usize,
    /// For the answer to a call. A one-way message is answered when there is room for it.
    slot: Arc<ReplySlot>,
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
        let max_commands = (max_waiting_calls / 2).min(MAX_COMMANDS);
        Self {
            state: Mutex::new(State {
                commands: Vec::new(),
                bytes: 0,
                notes: 0,
                wanted: max_commands,
                line: BTreeMap::new(),
                lined_up: 0,
                driver: None,
                closed: None,
            }),
            max_commands,
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
        if !state.takes(bytes) {
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
        if !state.takes(message.len()) {
            return Err(NotTaken::Full(()));
        }
        state.put_note(service, method, message);
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

    /// Puts a request at the end of the line of those that wait for room, or takes it if there is
    /// room now. The slot hears of it when the connection ends before.
    pub(crate) fn line_up(
        &self,
        request: Request,
        bytes: usize,
        slot: Arc<ReplySlot>,
    ) -> Place<'_> {
        let mut state = self.lock();
        state.lined_up += 1;
        let number = state.lined_up;
        let mut wakers = Vec::new();
        let driver = match &state.closed {
            Some(error) => {
                wakers.extend(slot.answer(Err(not_sent(error))));
                None
            }
            None => {
                let waiting = Waiting {
                    request,
                    bytes,
                    slot,
                };
                state.line.insert(number, Box::new(waiting));
                state.let_in(&mut wakers)
            }
        };
        drop(state);
        wakers.into_iter().chain(driver).for_each(Waker::wake);
        Place {
            mailbox: self,
            number,
        }
    }

    /// Takes all commands, into an empty list. Those who wait for room get it from
    /// [`want`](Self::want).
    pub(crate) fn take(&self, commands: &mut Vec<Command>) {
        let mut state = self.lock();
        mem::swap(&mut state.commands, commands);
        state.bytes = 0;
        state.notes = 0;
    }

    /// Says how many commands the driver would take. As many of those who wait become commands,
    /// which the driver has to look for.
    pub(crate) fn want(&self, commands: usize, wakers: &mut Vec<Waker>) {
        let mut state = self.lock();
        state.wanted = commands.min(self.max_commands);
        state.let_in(wakers);
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
    pub(crate) fn close(&self, error: &ConnectionError, wakers: &mut Vec<Waker>) -> Vec<Command> {
        let mut state = self.lock();
        state.closed = Some(error.clone());
        state.driver = None;
        let (commands, line) = (mem::take(&mut state.commands), mem::take(&mut state.line));
        // What a request holds may leave commands when it is dropped.
        drop(state);
        for waiting in line.into_values() {
            wakers.extend(waiting.slot.answer(Err(not_sent(error))));
        }
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
    /// Whether there is room for so many bytes, and nobody waits for it already.
    fn takes(&self, bytes: usize) -> bool {
        self.line.is_empty() && self.has_room(bytes)
    }

    fn has_room(&self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= MAX_BYTES || self.bytes == 0;
        fits && self.commands.len() + self.notes < self.wanted
    }

    fn put_note(&mut self, service: ServiceId, method: MethodId, message: &[u8]) {
        self.bytes += message.len();
        self.notes += 1;
        match self.commands.last_mut() {
            Some(Command::Notes(notes)) if notes.packet_bytes() < NOTES_BYTES => {
                notes.push(service, method, message);
            }
            last => {
                // Behind others, many are likely to follow.
                let many = matches!(last, Some(Command::Notes(_)));
                let mut notes = Notes::with_capacity(if many { NOTES_BYTES } else { 0 });
                notes.push(service, method, message);
                self.commands.push(Command::Notes(notes));
            }
        }
    }

    /// Lets in as many as there is room for; returns the driver if there were any.
    fn let_in(&mut self, wakers: &mut Vec<Waker>) -> Option<Waker> {
        let mut driver = None;
        while let Some((_, first)) = self.line.first_key_value()
            && self.has_room(first.bytes)
            && let Some((_, first)) = self.line.pop_first()
        {
            let Waiting {
                request,
                bytes,
                slot,
            } = *first;
            self.bytes += bytes;
            self.commands.push(match request.is_one_way() {
                false => Command::Call(request, slot),
                true => {
                    wakers.extend(slot.answer(Ok(sent())));
                    Command::Send(request)
                }
            });
            driver = driver.or_else(|| self.driver.take());
        }
        driver
    }
}

/// A place in the line of those who wait for room. Dropping it leaves the line.
#[derive(Debug)]
#[must_use = "dropping it leaves the line"]
pub(crate) struct Place<'a> {
    mailbox: &'a Mailbox,
    number: u64,
}

impl Place<'_> {
    /// The deadline has passed. If there was no room until now, the slot hears of it.
    pub(crate) fn leave(self) {}
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.mailbox.lock();
        let Some(waiting) = state.line.remove(&self.number) else {
            return;
        };
        // What stood behind it may be smaller.
        let mut wakers = Vec::new();
        let driver = state.let_in(&mut wakers);
        drop(state);
        wakers.extend(waiting.slot.answer(Err(no_room())));
        wakers.into_iter().chain(driver).for_each(Waker::wake);
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
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::{Wake, Waker},
    };

    use wawo_protocol::{ConnectionError, MethodId, Payload, ServiceId};

    use super::{
        Command, MAX_BYTES, MAX_COMMANDS, Mailbox, NOTES_BYTES, NotTaken, Place, ReplySlot,
    };
    use crate::{
        body::Body,
        reply::{Canceller, ReplyFuture},
        request::Request,
    };

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
        mailbox.close(&ConnectionError::ClosedHere, &mut Vec::new());
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
    }

    /// A call of a service whose id tells it from others, and its answer.
    fn line_up(mailbox: &Mailbox, id: u32, bytes: usize) -> (Place<'_>, Arc<ReplySlot>) {
        let body = Body::One(Payload::default());
        let request = Request::by_id(ServiceId(id), MethodId(1), false, body);
        let slot = Arc::new(ReplySlot::default());
        (mailbox.line_up(request, bytes, slot.clone()), slot)
    }

    /// The ids of the calls among the commands.
    fn taken(mailbox: &Mailbox) -> Vec<u32> {
        let mut commands = Vec::new();
        mailbox.take(&mut commands);
        let id = |command: &Command| match command {
            Command::Call(request, _) => Some(request.service().0),
            _ => None,
        };
        commands.iter().filter_map(id).collect()
    }

    fn is_full(mailbox: &Mailbox) -> bool {
        matches!(mailbox.push(command(), 0), Err(NotTaken::Full(_)))
    }

    #[test]
    fn as_many_are_let_in_as_the_driver_wants_in_the_order_in_which_they_came() {
        let mailbox = Mailbox::new(usize::MAX);
        mailbox.want(0, &mut Vec::new());
        let waiting: Vec<_> = (0..10).map(|id| line_up(&mailbox, id, 0)).collect();
        assert_eq!(taken(&mailbox), []);
        mailbox.want(3, &mut Vec::new());
        // What is in the mailbox already counts.
        mailbox.want(3, &mut Vec::new());
        assert_eq!(taken(&mailbox), [0, 1, 2]);
        // Nobody passes by those who wait.
        assert!(is_full(&mailbox));
        mailbox.want(5, &mut Vec::new());
        assert_eq!(taken(&mailbox), [3, 4, 5, 6, 7]);
        mailbox.want(5, &mut Vec::new());
        assert!(!is_full(&mailbox));
        assert_eq!(taken(&mailbox), [8, 9]);
        assert!(waiting.iter().all(|(_, slot)| !slot.is_gone()));
    }

    #[tokio::test]
    async fn who_leaves_the_line_is_told_and_makes_room_for_the_next() {
        let mailbox = Mailbox::new(usize::MAX);
        mailbox.push(command(), MAX_BYTES - 10).unwrap();
        let large = line_up(&mailbox, 1, 11);
        let small = line_up(&mailbox, 2, 10);
        let none = line_up(&mailbox, 3, 1);
        large.0.leave();
        assert_eq!(taken(&mailbox), [2]);
        let reply = |slot| ReplyFuture::promised(slot, Arc::new(Nobody));
        let status = reply(large.1).await.unwrap_err();
        assert!(status.is_safe_to_retry(), "{status}");
        // Whoever was let in has left nothing.
        drop(small.0);
        mailbox.want(MAX_COMMANDS, &mut Vec::new());
        drop(none.0);
        assert_eq!(taken(&mailbox), [3]);
        assert!(!small.1.is_gone() && !none.1.is_gone());
    }

    #[tokio::test]
    async fn who_waits_hears_of_the_end() {
        let mailbox = Mailbox::new(usize::MAX);
        mailbox.want(0, &mut Vec::new());
        let before = line_up(&mailbox, 1, 0);
        mailbox.close(&ConnectionError::ClosedHere, &mut Vec::new());
        let after = line_up(&mailbox, 2, 0);
        for (_place, slot) in [before, after] {
            let status = ReplyFuture::promised(slot, Arc::new(Nobody)).await;
            let status = status.unwrap_err();
            assert!(status.message().contains("not sent"), "{status}");
        }
        assert!(matches!(
            mailbox.push(command(), 0),
            Err(NotTaken::Closed(_))
        ));
    }

    #[test]
    fn a_driver_that_sleeps_is_woken_by_what_is_let_in() {
        let mailbox = Mailbox::new(usize::MAX);
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(flag.clone());
        mailbox.push(command(), MAX_BYTES).unwrap();
        let (large, _slot) = line_up(&mailbox, 1, 1);
        let (_small, _slot) = line_up(&mailbox, 2, 0);
        mailbox.lock().driver = Some(waker);
        assert!(!flag.0.load(Ordering::Relaxed));
        drop(large);
        assert!(flag.0.load(Ordering::Relaxed));
    }

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    struct Nobody;

    impl Canceller for Nobody {
        fn cancel(&self, _: &Arc<ReplySlot>) {}
    }
}
