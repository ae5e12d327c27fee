//! The task that owns a connection: the only place where the protocol meets I/O.

pub(crate) mod incoming;
pub(crate) mod outgoing;
mod output;

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, timeout};
use wawo_protocol::{Config, Connection, ConnectionError, Event, Side};

use crate::{
    clock,
    codec::buffer_pool,
    connection::{
        deadline_watch::WatchedCall,
        driver::{incoming::IncomingCalls, outgoing::OutgoingCall, output::WriteProgress},
        input::Input,
        mailbox::{Capacity, Command, not_sent},
    },
    decoding::DecodedTotal,
    peer::{ConnectionState, EventSender, Handle, Peer, PeerEvent, PeerState, WeakPeer},
    serve::{BoxService, inbound::Inbound},
    transport::{Address, Transport},
};

/// Owns one connection and its transport.
///
/// It is one loop that never waits for a write: it writes what it can, reads what there is and
/// acts on it, then looks at its mailbox. Before it takes commands it lets every task that is
/// ready run once, so that their calls leave in the same write.
#[derive(Debug)]
pub(crate) struct Driver {
    transport: TransportBox,
    pub(crate) input: Input,
    pub(crate) connection: Connection<OutgoingCall>,
    pub(crate) shared: Arc<PeerState>,
    pub(crate) inbound: Inbound,
    pub(crate) incoming: IncomingCalls,
    /// The handle that requests carry. Weak, or a connection would keep itself open.
    pub(crate) handle: Weak<Handle>,
    commands: Vec<Command>,
    /// Calls with deadlines that were started while commands were taken.
    pub(crate) calls_to_watch: Vec<WatchedCall>,
    /// Commands were seen, and others were given the time to add theirs.
    has_gathered: bool,
    /// The transport has taken bytes since its last flush, and may hold them back.
    needs_flush: bool,
    /// The last turn left it to the next one to look at the clock.
    puts_off_clock: bool,
    /// Why an early write failed, for the next one to tell: what was read is handled before.
    failed: Option<ConnectionError>,
    /// How many calls the mailbox was told to take: none if more waits to be written, or for room
    /// at the other side, than we like.
    capacity: Capacity,
    /// The mailbox was told so while nothing waited for the limits of the other side, so that there is
    /// nothing new to tell as long as nothing does.
    has_full_capacity: bool,
    /// This side takes no more calls.
    pub(crate) is_draining: bool,
    /// Streams of the other side have another deadline than other calls.
    pub(crate) has_stream_time: bool,
    /// What each stream of the other side may send before it is granted more, or all of them
    /// together if that is less.
    pub(crate) credit: u32,
    /// Why the connection is to be closed if nothing has come over it.
    pub(crate) asked: Option<String>,
    /// Something has come since the last time that it was asked for.
    pub(crate) has_received: bool,
    /// Calls before this time need not be told to those who look for idle connections.
    pub(crate) activity_due: Instant,
    /// How many calls there had been when they were last told of.
    pub(crate) calls_reported: u64,
    /// The connection had calls when the driver last waited.
    pub(crate) has_calls: bool,
    /// To be woken after the work at hand, without locks.
    pub(crate) wakers: Vec<Waker>,
    timer: Pin<Box<Sleep>>,
    /// When the timer fires, if it is set.
    timer_at: Option<Instant>,
}

/// So many reads for large packets are answered together, so that a peer waits little for the first.
const LARGE_READS: usize = 4;

/// After so many events, the driver looks at the clock again.
const EVENTS_A_LOOK: usize = 32;

/// After so many events, and whenever there are twice as many, the driver writes what they have led
/// to, if twice as much as was handled since the last time is left.
const EVENTS_A_WRITE: usize = 16;

/// How long a connection that is over may take to write its last packet.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The peer at the other end of a transport, and the driver of the connection to it, to be spawned
/// in the runtime of the transport. The connection lasts until the peer is dropped, one side closes
/// it, or the task is aborted. `decoded` is what decoded messages of all connections of a server may
/// take.
pub(crate) fn open(
    side: Side,
    transport: Box<dyn Transport>,
    address: Option<Address>,
    config: Arc<Config>,
    service: BoxService,
    event_sender: EventSender,
    decoded: Option<Arc<DecodedTotal>>,
) -> (Peer, impl Future<Output = ()>) {
    let inbound = Inbound::new(service, config.max_call_depth());
    let names = inbound.names().clone();
    let shared = PeerState::new(side, address, &config, event_sender, names, decoded);
    let has_stream_time = config.max_stream_time().is_some();
    let limits = config.limits();
    let all = limits.request_credit_bytes.min(limits.reply_credit_bytes);
    let credit = limits.initial_credit_bytes.min(all);
    let now = clock::now();
    let connection = Connection::new(side, config, now);
    let handle = Arc::new(Handle {
        shared: shared.clone(),
    });
    let driver = Driver {
        transport: TransportBox(transport),
        input: Input::default(),
        connection,
        shared,
        inbound,
        incoming: IncomingCalls::default(),
        handle: Arc::downgrade(&handle),
        commands: Vec::new(),
        calls_to_watch: Vec::new(),
        has_gathered: false,
        puts_off_clock: false,
        needs_flush: false,
        failed: None,
        capacity: Capacity::ANY,
        has_full_capacity: false,
        is_draining: false,
        has_stream_time,
        credit,
        asked: None,
        has_received: false,
        activity_due: now,
        calls_reported: 0,
        has_calls: false,
        wakers: Vec::new(),
        timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        timer_at: None,
    };
    (Peer(handle), driver.run())
}

impl Driver {
    #[allow(
        clippy::manual_async_fn,
        reason = "the future of an async fn has room for its argument twice"
    )]
    fn run(mut self) -> impl Future<Output = ()> {
        async move {
            let error = poll_fn(|cx| self.poll(cx)).await;
            tracing::debug!(%error, peer = %self.shared, side = ?self.shared.side, "connection over");
            self.end(&error);
            // The other side should hear why; if it cannot, its own timers tell it.
            let _ = timeout(CLOSE_TIMEOUT, self.close()).await;
        }
    }

    /// Goes on until the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionError> {
        loop {
            match self.drive(cx) {
                Ok(NextStep::Again) => {}
                Ok(NextStep::Wait) => {
                    self.record_has_calls();
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(error),
            }
        }
    }

    /// One round: take commands, write, read and act, look for commands, look at the clock.
    fn drive(&mut self, cx: &mut Context<'_>) -> Result<NextStep, ConnectionError> {
        let is_late = self.has_gathered && self.take_commands(cx)?;
        let wrote = match self.write(cx) {
            Ok(wrote) => wrote,
            Err(error) => return Err(self.read_out(cx, error)),
        };
        let read = self.read_on(cx)?;
        // Callers that never pause must not hold up the clock. What could be written and read comes
        // first, or time in which this process stood still would be held against the other side.
        if is_late {
            self.handle_timeout(cx, clock::now())?;
        }
        if self.shared.mailbox.poll(cx) {
            self.has_gathered = true;
            cx.waker().wake_by_ref();
            return Ok(NextStep::Wait);
        }
        // What was read may be all there is, as the next turn tells: that one looks at the clock
        // for both. But not the one behind it, or who sends without a pause would hold up the clock.
        self.puts_off_clock = read && !self.puts_off_clock;
        if self.puts_off_clock {
            return Ok(NextStep::Again);
        }
        if self.is_due(cx) {
            self.handle_timeout(cx, clock::now())?;
            return Ok(NextStep::Again);
        }
        self.check_drained()?;
        let blocked = matches!(wrote, WriteProgress::Blocked);
        let more_to_write = !self.connection.output().is_empty() || self.connection.wants_output();
        match read || (more_to_write && !blocked) {
            true => Ok(NextStep::Again),
            false => Ok(NextStep::Wait),
        }
    }

    /// Reads once and acts on it, or a few times if it is large: what is read in parts is answered
    /// in one write.
    fn read_on(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionError> {
        let mut has_read = false;
        for _ in 0..LARGE_READS {
            let read = self.read(cx)?;
            has_read |= read;
            // Writing makes room, which streams wait for.
            if read || self.connection.has_events() {
                self.handle_events(cx, clock::now())?;
            }
            if !read || !self.input.is_large() {
                break;
            }
        }
        Ok(has_read)
    }

    /// The transport takes nothing more. What has come over it is heard all the same: replies,
    /// and perhaps why the other side has gone.
    fn read_out(&mut self, cx: &mut Context<'_>, error: ConnectionError) -> ConnectionError {
        while let Ok(true) = self.read(cx) {
            if let Err(error) = self.handle_events(cx, clock::now()) {
                return error;
            }
        }
        error
    }

    /// Reads once; `false` if there is nothing.
    pub(crate) fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionError> {
        let transport = Pin::new(&mut *self.transport.0);
        match self.input.read(transport, &mut self.connection, cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => {
                let text = "it ended without a close packet";
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, text);
                Err(self.lose_early(error))
            }
            Poll::Ready(Ok(_)) => {
                self.has_received = true;
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(self.lose_early(error)),
        }
    }

    /// A peer that goes before its hello did perhaps not understand ours.
    #[cold]
    fn lose_early(&self, error: io::Error) -> ConnectionError {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let has_gone = matches!(
            error.kind(),
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
        );
        if self.shared.hello.get().is_some() || !has_gone {
            return lost(error);
        }
        let text = format!(
            "{error}, before the hello of the peer, which may speak another protocol, or TLS"
        );
        lost(io::Error::new(error.kind(), text))
    }

    pub(crate) fn handle_events(
        &mut self,
        cx: &mut Context<'_>,
        mut now: Instant,
    ) -> Result<(), ConnectionError> {
        let (mut handled, mut left) = (0, self.input.bytes.len());
        let result = loop {
            // Most of what comes is one of the first two.
            let (bytes, copy) = self.input.with_copy();
            if let Some(called) = self.connection.poll_call(now, bytes, copy) {
                self.serve(cx, called);
            } else if let Some((call, reply)) =
                self.connection.poll_reply(now, &mut self.input.bytes)
            {
                call.complete(reply, &mut self.wakers);
            } else {
                match self.connection.poll_event(now, &mut self.input.bytes) {
                    Ok(Some(event)) => self.handle_event(cx, event),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
            handled += 1;
            if handled % EVENTS_A_LOOK == 0 {
                // A handler that takes long takes it from itself, not from the calls behind it.
                now = clock::now();
            }
            if handled >= EVENTS_A_WRITE && usize::is_power_of_two(handled) {
                self.write_early(cx, &mut left);
            }
        };
        // Calls end also by what this side does.
        if (handled > 0 || self.has_calls) && now >= self.activity_due {
            self.record_activity(now);
        }
        self.wake_all();
        result
    }

    /// Does what is due. Calls that end with the connection end first.
    fn handle_timeout(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        buffer_pool::release();
        self.record_started_calls(now);
        let result = self.connection.handle_timeout(now);
        self.handle_events(cx, now)?;
        result
    }

    fn handle_event(&mut self, cx: &mut Context<'_>, event: Event<OutgoingCall>) {
        match event {
            Event::Called(mut called) => {
                called.message = called.message.map(|message| self.input.kept(message));
                self.serve(cx, called);
            }
            Event::Ended(ended) => outgoing::ended(ended, &mut self.wakers),
            Event::Refused(call, reason) => call.refuse(&reason, &mut self.wakers),
            Event::Started(call) => self.started(call),
            Event::Replied {
                call,
                metadata,
                message,
            } => self.replied(call, metadata, message),
            Event::Message { call, message } => self.received(call, message),
            Event::Finished(call) => self.requests_finished(call),
            Event::Cancelled(call) | Event::Expired(call) => self.stop_handler(call),
            Event::Writable(call) => self.writable(call),
            Event::Opened(hello) => {
                // The connection yields it once.
                let _ = self.shared.hello.set(*hello);
                let state = match self.is_draining {
                    true => ConnectionState::Draining,
                    false => ConnectionState::Open,
                };
                self.shared.state.send_replace(state);
                self.send_event(PeerEvent::Connected);
                if let Some(handle) = self.handle.upgrade() {
                    handle.compare_schemas();
                }
            }
            Event::Draining => self.announce_drain(),
            // Events of later versions of the protocol crate.
            _ => {}
        }
    }

    /// One side takes no more calls.
    pub(crate) fn announce_drain(&self) {
        self.shared.state.send_if_modified(|state| {
            let was_open = matches!(state, ConnectionState::Open);
            if was_open {
                *state = ConnectionState::Draining;
            }
            was_open
        });
        self.send_event(PeerEvent::Draining);
    }

    pub(crate) fn send_event(&self, event: impl FnOnce(WeakPeer) -> PeerEvent) {
        let peer = || WeakPeer::new(&self.shared, self.handle.clone());
        self.shared.event_sender.send(|| event(peer()));
    }

    /// Takes all commands, of which the mailbox lets in so many, and acts on what follows. Returns
    /// whether a timeout is due.
    fn take_commands(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionError> {
        self.has_gathered = false;
        let mut commands = std::mem::take(&mut self.commands);
        self.shared.mailbox.take(&mut commands);
        let now = clock::now();
        for command in commands.drain(..) {
            self.handle_command(now, command);
        }
        self.commands = commands;
        // Output that waits is looked at when it is written.
        if self.has_full_capacity || self.capacity != Capacity::NONE {
            self.update_capacity();
        }
        // There is room again for those who wait.
        let (mailbox, capacity) = (&self.shared.mailbox, self.capacity);
        mailbox.set_capacity_and_watch(capacity, &mut self.calls_to_watch, &mut self.wakers);
        self.wake_all();
        if let Some(reason) = self.asked.take() {
            self.close_if_silent(cx, &reason)?;
        }
        if self.connection.is_closed() {
            return Err(ConnectionError::ClosedHere);
        }
        // Calls may have been admitted, or ended, by what was done.
        self.handle_events(cx, now)?;
        Ok(self.connection.poll_timeout().is_some_and(|at| at <= now))
    }

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Call(request, slot) => self.start_call(now, request, slot),
            Command::PlainCall(call, slot) => self.start_plain_call(now, call, slot),
            Command::OneWay(request) => self.send_one_way(now, request),
            Command::OneWayBatch(messages) => self.send_one_way_batch(now, messages),
            Command::Cancel(slot) => self.cancel(&slot),
            Command::HandlerEnd(id, result) => self.handler_ended(id, result),
            Command::OneWayHandled(cost) => self.one_way_handled(cost),
            Command::Messages(outbox, messages) => self.send_messages(&outbox, messages),
            Command::Finish(outbox, result) => self.finish_stream(&outbox, result),
            Command::Consumed(inbox, read) => self.consumed(&inbox, read),
            Command::StopReading(inbox) => self.stop_reading(&inbox),
            Command::Drain => self.drain(),
            Command::Snapshot(sender) => {
                // Whoever asked may have stopped to wait.
                let _ = sender.send(self.snapshot());
            }
            Command::Close(code, reason) => self.connection.close(code, &reason),
            Command::CloseIfSilent(reason) => self.asked = Some(reason),
        }
    }

    /// Whether the connection's next timeout has come. The timer is only ever set earlier: if it
    /// fires too early, nothing is due, and it is set anew.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(next) = self.connection.poll_timeout() else {
            return false;
        };
        if self.timer_at.is_none_or(|at| next < at) {
            self.timer.as_mut().reset(next.into());
            self.timer_at = Some(next);
        }
        let fired = self.timer.as_mut().poll(cx).is_ready();
        if fired {
            self.timer_at = None;
        }
        fired
    }

    pub(crate) fn wake_all(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// The connection is over: everyone who waits for something hears of it.
    fn end(&mut self, error: &ConnectionError) {
        if matches!(error, ConnectionError::Lost(_)) {
            self.connection.lose();
        }
        buffer_pool::release();
        self.count_drained();
        let commands = self.shared.mailbox.close(error, &mut self.wakers);
        let cut = self.shared.drain.why_cut();
        for (call, sent) in self.connection.take_calls() {
            call.lose(error, cut.as_deref(), sent, &mut self.wakers);
        }
        for command in commands {
            if let Command::Call(_, slot) | Command::PlainCall(_, slot) = command {
                self.wakers.extend(slot.complete(Err(not_sent(error))));
            }
        }
        self.incoming.end(error, &mut self.wakers);
        let before = self
            .shared
            .state
            .send_replace(ConnectionState::Closed(error.clone()));
        self.wake_all();
        self.send_event(|peer| match before {
            ConnectionState::Handshaking => PeerEvent::NotConnected(peer, error.clone()),
            _ => PeerEvent::Disconnected(peer, error.clone()),
        });
    }
}

impl Drop for Driver {
    /// The task was aborted, or has ended.
    fn drop(&mut self) {
        if self.shared.mailbox.closed().is_none() {
            self.connection.lose();
            self.end(&ConnectionError::ClosedHere);
        }
    }
}

/// Whether there is more to do at once.
enum NextStep {
    Again,
    Wait,
}

fn lost(error: io::Error) -> ConnectionError {
    ConnectionError::Lost(Arc::new(error))
}

struct TransportBox(Box<dyn Transport>);

impl std::fmt::Debug for TransportBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

#[cfg(test)]
mod tests {
    use super::Driver;

    #[test]
    fn a_task_holds_its_driver_once() {
        fn size_of_output<T>(_: impl FnOnce(Driver) -> T) -> usize {
            size_of::<T>()
        }
        assert!(size_of_output(Driver::run) < size_of::<Driver>() * 3 / 2);
    }
}
