//! Where everyone who holds a peer leaves commands for its driver.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Waker},
    time::Instant,
};

use tokio::sync::oneshot;
use wawo_protocol::{
    CallId, CloseCode, ConnectionError, MethodId, Payload, ServiceId,
    packet::{Messages, Notes},
};

use crate::{
    backstop,
    body::Body,
    peer::{
        PeerSnapshot, no_room, sent,
        stream::{Inbox, Outbox, Read},
        watched::{Watch, Watched, is_overdue},
    },
    reply::ReplySlot,
    request::{DefaultTimeouts, Request},
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
    /// Its reply is one.
    pub(crate) is_stream: bool,
}

impl From<PlainCall> for Request {
    fn from(call: PlainCall) -> Self {
        let body = Body::One(call.message);
        let mut request = Self::by_id(call.service, call.method, false, body);
        request.head_mut().is_stream = call.is_stream;
        request
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
/// for that, and nobody who comes later is served before. There is a [`Line`] for each kind of
/// request, so that none waits behind others that may have to wait for it.
pub(crate) struct Mailbox {
    state: Mutex<State>,
    /// What this is a part of, for the backstop to look at.
    owner: Weak<dyn backstop::Watched>,
}

#[derive(Debug)]
struct State {
    commands: Vec<Command>,
    /// Message bytes in `commands`.
    bytes: usize,
    /// One-way messages that gathered in `commands`.
    notes: usize,
    /// How many commands the driver would take.
    wanted: Wanted,
    /// Commands that may wait, whatever the driver would take.
    max_commands: usize,
    /// Requests that wait for room, by [`Line`] and by the order in which they came.
    lines: [BTreeMap<u64, Box<Waiting>>; 4],
    /// How many they are.
    waiting: usize,
    /// How many have ever stood in the line.
    lined_up: u64,
    driver: Option<Waker>,
    /// The deadlines of calls that the driver has taken.
    watch: Watch,
    closed: Option<ConnectionError>,
}

/// Which requests wait for room behind each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Calls and one-way messages that no handler makes.
    Outer,
    /// One-way messages that handlers send: they wait for credit, not for the end of calls.
    NestedMessage,
    /// Calls that handlers make.
    Nested,
    /// Calls that handlers of such calls make: they wait for nothing but the driver.
    Deep,
}

impl Line {
    /// Those who wait for least come first.
    const ALL: [Self; 4] = [Self::Deep, Self::Nested, Self::NestedMessage, Self::Outer];

    fn of(request: &Request) -> Self {
        match (request.is_one_way(), request.head().depth) {
            (_, 0) => Self::Outer,
            (true, _) => Self::NestedMessage,
            (false, 1) => Self::Nested,
            (false, _) => Self::Deep,
        }
    }
}

/// A call that is left in a mailbox.
pub(crate) trait Queued {
    /// Where it waits for room.
    fn line(&self) -> Line;
}

impl Queued for Request {
    fn line(&self) -> Line {
        Line::of(self)
    }
}

impl Queued for PlainCall {
    fn line(&self) -> Line {
        Line::Outer
    }
}

/// How many commands a driver would take, of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Calls and one-way messages that no handler makes.
    pub(crate) outer: usize,
    /// Calls that handlers make.
    pub(crate) nested: usize,
    /// One-way messages that handlers send.
    pub(crate) nested_messages: usize,
    /// Calls that handlers of such calls make.
    pub(crate) deep: usize,
}

impl Wanted {
    pub(crate) const NONE: Self = Self::all(0);
    pub(crate) const ANY: Self = Self::all(usize::MAX);

    const fn all(commands: usize) -> Self {
        Self {
            outer: commands,
            nested: commands,
            nested_messages: commands,
            deep: commands,
        }
    }

    fn of(&self, line: Line) -> usize {
        match line {
            Line::Outer => self.outer,
            Line::NestedMessage => self.nested_messages,
            Line::Nested => self.nested,
            Line::Deep => self.deep,
        }
    }
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
    pub(crate) fn new(max_waiting_calls: usize, owner: Weak<dyn backstop::Watched>) -> Self {
        let max_commands = (max_waiting_calls / 2).min(MAX_COMMANDS);
        Self {
            state: Mutex::new(State {
                commands: Vec::new(),
                bytes: 0,
                notes: 0,
                wanted: Wanted::ANY,
                max_commands,
                lines: Default::default(),
                waiting: 0,
                lined_up: 0,
                driver: None,
                watch: Watch::default(),
                closed: None,
            }),
            owner,
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
        let line = match &command {
            Command::Send(request) => Line::of(request),
            _ => Line::Outer,
        };
        if !state.takes(line, bytes) {
            return Err(NotTaken::Full(command));
        }
        state.bytes += bytes;
        state.commands.push(command);
        let driver = state.driver.take();
        drop(state);
        wake(driver);
        Ok(())
    }

    /// Leaves a call, as `command` makes one of it; returns the slot for its answer.
    pub(crate) fn push_call<C: Queued>(
        &self,
        call: C,
        bytes: usize,
        command: fn(C, Arc<ReplySlot>) -> Command,
    ) -> Result<Arc<ReplySlot>, NotTaken<C>> {
        let mut state = self.lock();
        if let Some(error) = &state.closed {
            return Err(NotTaken::Closed(error.clone()));
        }
        if !state.takes(call.line(), bytes) {
            return Err(NotTaken::Full(call));
        }
        let slot = state.watch.slot();
        state.bytes += bytes;
        state.commands.push(command(call, slot.clone()));
        let driver = state.driver.take();
        let is_watched = mem::replace(&mut state.watch.is_asked, true);
        drop(state);
        wake(driver);
        if !is_watched {
            self.ask_for_a_look();
        }
        Ok(slot)
    }

    #[cold]
    fn ask_for_a_look(&self) {
        if !backstop::watch(self.owner.clone()) {
            self.lock().watch.is_asked = false;
        }
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
        if !state.takes(Line::Outer, message.len()) {
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
        let (number, line) = (state.lined_up, Line::of(&request));
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
                state.lines[line as usize].insert(number, Box::new(waiting));
                state.waiting += 1;
                state.let_in(&mut wakers)
            }
        };
        let is_watched = mem::replace(&mut state.watch.is_asked, true);
        drop(state);
        wakers.into_iter().chain(driver).for_each(Waker::wake);
        if !is_watched {
            self.ask_for_a_look();
        }
        Place {
            mailbox: self,
            line,
            number,
            late: None,
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
    pub(crate) fn want(&self, commands: Wanted, wakers: &mut Vec<Waker>) {
        let mut state = self.lock();
        state.wanted = commands;
        state.let_in(wakers);
    }

    /// The same after commands were taken; `started` are the calls with deadlines among them.
    pub(crate) fn want_and_watch(
        &self,
        commands: Wanted,
        started: &mut Vec<Watched>,
        wakers: &mut Vec<Waker>,
    ) {
        let mut state = self.lock();
        while let Some(call) = started.pop() {
            state.watch.add(call);
        }
        state.wanted = commands;
        state.let_in(wakers);
    }

    /// The reply to a call is a stream, whose reader waits for the end of the call.
    pub(crate) fn watch_replies(&self, call: CallId, slot: &Arc<ReplySlot>, replies: &Arc<Inbox>) {
        self.lock().watch.replied(call, slot, replies);
    }

    /// For the backstop: ends the calls that the driver should have ended; see
    /// [`Watched::look`](backstop::Watched::look). `now` is `None` where time is not real, and
    /// nothing ends then.
    pub(crate) fn look(
        &self,
        now: Option<Instant>,
        defaults: &DefaultTimeouts,
        wakers: &mut Vec<Waker>,
    ) -> Option<Instant> {
        let mut state = self.lock();
        state.watch.is_asked = false;
        let now = now?;
        let left = state.look(now, defaults, wakers);
        state.watch.look(now, left, wakers)
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
        let (commands, lines) = (mem::take(&mut state.commands), mem::take(&mut state.lines));
        state.waiting = 0;
        let watch = mem::take(&mut state.watch);
        // What a request holds may leave commands when it is dropped.
        drop(state);
        drop(watch);
        for waiting in lines.into_iter().flat_map(BTreeMap::into_values) {
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
    fn takes(&self, line: Line, bytes: usize) -> bool {
        let is_first = self.waiting == 0 || self.lines[line as usize].is_empty();
        is_first && self.has_room(line, bytes)
    }

    fn has_room(&self, line: Line, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= MAX_BYTES || self.bytes == 0;
        let wanted = self.wanted.of(line).min(self.max_commands);
        fits && self.commands.len() + self.notes < wanted
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

    /// Ends the calls that the driver did not take in time; returns the earliest deadline of those
    /// that are left.
    fn look(
        &mut self,
        now: Instant,
        defaults: &DefaultTimeouts,
        wakers: &mut Vec<Waker>,
    ) -> Option<Instant> {
        let commands = self.commands.iter_mut();
        let calls = commands.filter_map(|command| call_of(command, now, defaults));
        let lines = self.lines.iter().flat_map(BTreeMap::values);
        let lines = lines.map(|waiting| (waiting.request.deadline(), &waiting.slot));
        let mut earliest = None;
        for (deadline, slot) in calls.chain(lines) {
            let Some(deadline) = deadline else { continue };
            match is_overdue(deadline, now) {
                true => wakers.extend(slot.answer(Err(no_room()))),
                false => {
                    earliest = Some(earliest.map_or(deadline, |at: Instant| at.min(deadline)));
                }
            }
        }
        earliest
    }

    /// The next request that there is room for.
    fn next_in(&mut self) -> Option<Box<Waiting>> {
        // Most often nobody waits.
        if self.waiting == 0 {
            return None;
        }
        let has_room = |line: &Line| {
            let first = self.lines[*line as usize].first_key_value();
            first.is_some_and(|(_, first)| self.has_room(*line, first.bytes))
        };
        let line = Line::ALL.into_iter().find(has_room)?;
        let (_, first) = self.lines[line as usize].pop_first()?;
        self.waiting -= 1;
        Some(first)
    }

    /// Lets in as many as there is room for; returns the driver if there were any.
    fn let_in(&mut self, wakers: &mut Vec<Waker>) -> Option<Waker> {
        let mut driver = None;
        while let Some(first) = self.next_in() {
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
    line: Line,
    number: u64,
    /// For the slot, if there was no room in time.
    late: Option<Status>,
}

impl Place<'_> {
    /// It has waited too long. If there was no room until now, the slot hears of it.
    pub(crate) fn leave(mut self, late: Status) {
        self.late = Some(late);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.mailbox.lock();
        let Some(waiting) = state.lines[self.line as usize].remove(&self.number) else {
            return;
        };
        state.waiting -= 1;
        // What stood behind it may be smaller.
        let mut wakers = Vec::new();
        let driver = state.let_in(&mut wakers);
        drop(state);
        // Else nobody waits for the answer any more.
        let late = self.late.take();
        wakers.extend(late.and_then(|late| waiting.slot.answer(Err(late))));
        wakers.into_iter().chain(driver).for_each(Waker::wake);
    }
}

/// The deadline of a call among the commands, and its slot. One without a deadline gets the default
/// now, which the driver has not given it yet: the time that it waits here counts.
fn call_of<'a>(
    command: &'a mut Command,
    now: Instant,
    defaults: &DefaultTimeouts,
) -> Option<(Option<Instant>, &'a Arc<ReplySlot>)> {
    if let Command::PlainCall(call, _) = command
        && defaults.of(call.is_stream).0.is_some()
        && let Command::PlainCall(call, slot) = mem::replace(command, Command::Served(0))
    {
        *command = Command::Call(call.into(), slot);
    }
    let Command::Call(request, slot) = command else {
        return None;
    };
    request.head_mut().take_default(now, defaults);
    Some((request.deadline(), slot))
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
            Arc, Weak,
            atomic::{AtomicBool, Ordering},
        },
        task::{Wake, Waker},
        time::{Duration, Instant},
    };

    use wawo_protocol::{Code, Config, ConnectionError, MethodId, Payload, ServiceId};

    use super::{
        Command, MAX_BYTES, MAX_COMMANDS, Mailbox, NOTES_BYTES, NotTaken, Place, PlainCall,
        ReplySlot, Wanted,
    };
    use crate::{
        backstop::{SLACK, Watched},
        body::Body,
        peer::no_room,
        reply::{Canceller, ReplyFuture},
        request::{DefaultTimeouts, Request},
    };

    fn mailbox() -> Mailbox {
        Mailbox::new(usize::MAX, Weak::<Nobody>::new())
    }

    fn command() -> Command {
        Command::Served(0)
    }

    #[test]
    fn commands_are_bounded_and_ends_are_not_refused() {
        let mailbox = mailbox();
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
        let mailbox = mailbox();
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
        let mailbox = mailbox();
        mailbox.push(command(), MAX_BYTES + 1).unwrap();
        assert!(matches!(mailbox.push(command(), 1), Err(NotTaken::Full(_))));
        mailbox.take(&mut Vec::new());
        mailbox.push(command(), MAX_BYTES).unwrap();
        assert!(matches!(mailbox.push(command(), 1), Err(NotTaken::Full(_))));
    }

    impl Place<'_> {
        fn set_deadline(&self, deadline: Instant) {
            let mut state = self.mailbox.lock();
            let waiting = state.lines[self.line as usize]
                .get_mut(&self.number)
                .unwrap();
            waiting.request.set_deadline(Some(deadline));
        }
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
            Command::Call(request, _) | Command::Send(request) => Some(request.service().0),
            _ => None,
        };
        commands.iter().filter_map(id).collect()
    }

    fn is_full(mailbox: &Mailbox) -> bool {
        matches!(mailbox.push(command(), 0), Err(NotTaken::Full(_)))
    }

    #[test]
    fn as_many_are_let_in_as_the_driver_wants_in_the_order_in_which_they_came() {
        let mailbox = mailbox();
        mailbox.want(Wanted::NONE, &mut Vec::new());
        let waiting: Vec<_> = (0..10).map(|id| line_up(&mailbox, id, 0)).collect();
        assert_eq!(taken(&mailbox), []);
        mailbox.want(Wanted::all(3), &mut Vec::new());
        // What is in the mailbox already counts.
        mailbox.want(Wanted::all(3), &mut Vec::new());
        assert_eq!(taken(&mailbox), [0, 1, 2]);
        // Nobody passes by those who wait.
        assert!(is_full(&mailbox));
        mailbox.want(Wanted::all(5), &mut Vec::new());
        assert_eq!(taken(&mailbox), [3, 4, 5, 6, 7]);
        mailbox.want(Wanted::all(5), &mut Vec::new());
        assert!(!is_full(&mailbox));
        assert_eq!(taken(&mailbox), [8, 9]);
        assert!(waiting.iter().all(|(_, slot)| !slot.is_over()));
    }

    #[test]
    fn what_handlers_ask_for_does_not_wait_behind_what_others_do() {
        let mailbox = mailbox();
        let wanted = |outer, nested, nested_messages, deep| Wanted {
            outer,
            nested,
            nested_messages,
            deep,
        };
        let request = |id: u32, one_way, depth| {
            let body = Body::One(Payload::default());
            let mut request = Request::by_id(ServiceId(id), MethodId(1), one_way, body);
            request.head_mut().depth = depth;
            request
        };
        mailbox.want(Wanted::NONE, &mut Vec::new());
        let kinds = [
            request(0, false, 0),
            request(1, true, 0),
            request(2, true, 1),
            request(3, false, 1),
            request(4, false, 2),
            request(5, false, 16),
        ];
        let slot = || Arc::new(ReplySlot::default());
        let places = kinds.map(|request| mailbox.line_up(request, 0, slot()));
        for (wanted, expected) in [
            (wanted(0, 0, 0, 9), vec![4, 5]),
            (wanted(0, 9, 0, 9), vec![3]),
            (wanted(0, 9, 9, 9), vec![2]),
            (wanted(9, 9, 9, 9), vec![0, 1]),
        ] {
            mailbox.want(wanted, &mut Vec::new());
            assert_eq!(taken(&mailbox), expected);
        }
        drop(places);
        mailbox.want(wanted(0, 1, 0, 1), &mut Vec::new());
        let push = |request| mailbox.push_call(request, 0, Command::Call);
        assert!(push(request(6, false, 2)).is_ok());
        assert!(matches!(push(request(7, false, 0)), Err(NotTaken::Full(_))));
    }

    #[tokio::test]
    async fn who_leaves_the_line_is_told_and_makes_room_for_the_next() {
        let mailbox = mailbox();
        mailbox.push(command(), MAX_BYTES - 10).unwrap();
        let large = line_up(&mailbox, 1, 11);
        let small = line_up(&mailbox, 2, 10);
        let none = line_up(&mailbox, 3, 1);
        large.0.leave(no_room());
        assert_eq!(taken(&mailbox), [2]);
        let reply = |slot| ReplyFuture::promised(slot, Arc::new(Nobody));
        let status = reply(large.1).await.unwrap_err();
        assert!(status.is_safe_to_retry(), "{status}");
        // Whoever was let in has left nothing.
        drop(small.0);
        mailbox.want(Wanted::ANY, &mut Vec::new());
        drop(none.0);
        assert_eq!(taken(&mailbox), [3]);
        assert!(!small.1.is_over() && !none.1.is_over());
    }

    #[tokio::test]
    async fn who_waits_hears_of_the_end() {
        let mailbox = mailbox();
        mailbox.want(Wanted::NONE, &mut Vec::new());
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
        let mailbox = mailbox();
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

    /// What a call that the driver did not take hears when it is looked at.
    async fn overdue(mailbox: &Mailbox, slot: Arc<ReplySlot>) {
        let reply = ReplyFuture::promised(slot, Arc::new(Nobody));
        let status = reply.await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.is_safe_to_retry(), "{status}");
        assert!(mailbox.closed().is_none());
    }

    #[tokio::test]
    async fn a_call_that_no_driver_takes_ends_in_the_mailbox_and_in_the_line() {
        let mailbox = mailbox();
        let mut config = Config::default();
        config.default_timeout = Some(Duration::from_secs(1));
        let (now, timeouts) = (Instant::now(), &DefaultTimeouts::new(&config));
        let call = PlainCall {
            service: ServiceId(1),
            method: MethodId(1),
            message: Payload::default(),
            is_stream: false,
        };
        let plain = mailbox.push_call(call, 0, Command::PlainCall).unwrap();
        mailbox.want(Wanted::NONE, &mut Vec::new());
        let (place, lined_up) = line_up(&mailbox, 2, 0);
        place.set_deadline(now + Duration::from_secs(1));
        let mut wakers = Vec::new();
        let next = now + Duration::from_secs(1) + SLACK;
        assert_eq!(mailbox.look(Some(now), timeouts, &mut wakers), Some(next));
        // The backstop knows already when to look.
        let early = now + Duration::from_millis(500);
        assert_eq!(mailbox.look(Some(early), timeouts, &mut wakers), None);
        assert!(!plain.is_over() && !lined_up.is_over());
        // Time that is not real ends nothing.
        assert_eq!(mailbox.look(None, timeouts, &mut wakers), None);
        assert_eq!(mailbox.look(Some(next), timeouts, &mut wakers), None);
        overdue(&mailbox, plain).await;
        overdue(&mailbox, lined_up).await;
        drop(place);
    }

    #[test]
    fn a_look_is_asked_for_once_until_it_comes() {
        let mailbox = mailbox();
        assert!(!mailbox.lock().watch.is_asked);
        let body = Body::One(Payload::default());
        let request = Request::by_id(ServiceId(1), MethodId(1), false, body);
        mailbox.push_call(request, 0, Command::Call).unwrap();
        assert!(mailbox.lock().watch.is_asked);
        let timeouts = DefaultTimeouts::new(&Config::default());
        mailbox.look(Some(Instant::now()), &timeouts, &mut Vec::new());
        assert!(!mailbox.lock().watch.is_asked);
    }

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    struct Nobody;

    impl Watched for Nobody {
        fn look(&self, _: &mut Vec<Waker>) -> Option<Instant> {
            None
        }
    }

    impl Canceller for Nobody {
        fn cancel(&self, _: &Arc<ReplySlot>) {}
    }
}
