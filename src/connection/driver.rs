//! The task that owns a connection: the only place where the protocol meets I/O.
//!
//! Each file is one thing that the driver does. The tables and records that it keeps are types of their own,
//! beside it: [`IncomingCalls`], [`OutgoingCall`], [`Input`], [`ActivityReport`].
//!
//! ```text
//!   driver        the loop: in which order it writes, reads, takes commands, looks at the clock
//!   output        writes, and sets how much the mailbox takes meanwhile
//!   commands      takes commands from the mailbox
//!   events        acts on the events of the protocol
//!   serve         serves the calls of the other side      calls   starts those of this side
//!   streams       the messages of both, between inboxes, outboxes and the protocol
//!   drain silence activity snapshot timer end             what their names say
//! ```

mod activity;
mod calls;
mod commands;
mod drain;
mod end;
mod events;
mod output;
mod serve;
mod silence;
mod snapshot;
mod streams;
mod timer;

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::timeout;
use wawo_protocol::{Config, Connection, ConnectionError};

use crate::{
    clock,
    connection::{
        activity::ActivityReport,
        deadline_watch::WatchedCall,
        driver::timer::DriverTimer,
        handle::ConnectionHandle,
        incoming::IncomingCalls,
        input::Input,
        mailbox::{Capacity, Command},
        new_transport::NewTransport,
        outgoing::OutgoingCall,
    },
    request::Caller,
    serve::inbound::Inbound,
    transport::Transport,
};

/// The state machine of the protocol, with what a driver keeps of each call that this side starts.
pub(crate) type Protocol = Connection<OutgoingCall>;

/// Owns one connection and its transport.
///
/// It is one loop that never waits for a write: it writes what it can, reads what there is and
/// acts on it, then looks at its mailbox. Before it takes commands it lets every task that is
/// ready run once, so that their calls leave in the same write.
#[derive(Debug)]
pub(crate) struct Driver {
    transport: TransportBox,
    input: Input,
    connection: Protocol,
    handle: Arc<ConnectionHandle>,
    inbound: Inbound,
    incoming: IncomingCalls,
    /// The peer, as requests carry it. Weak, or a connection would keep itself open.
    peer: Weak<dyn Caller>,
    commands: Vec<Command>,
    /// Calls with deadlines that were started while commands were taken.
    calls_to_watch: Vec<WatchedCall>,
    /// Commands were seen, and other tasks were given the time to add theirs.
    has_gathered: bool,
    /// The transport has taken bytes since its last flush, and may hold them back.
    needs_flush: bool,
    /// The last round left it to the next one to look at the clock.
    puts_off_clock: bool,
    /// Why an early write failed. The next write returns it: what was read is handled before.
    failed: Option<ConnectionError>,
    /// How many calls the mailbox was told to take: none while more waits to be written, or for room
    /// at the other side, than is good.
    capacity: Capacity,
    /// The mailbox was told so while nothing waited for the limits of the other side, so that nothing
    /// changes as long as nothing waits.
    has_full_capacity: bool,
    /// This side takes no more calls.
    is_draining: bool,
    /// Streams of the other side have another deadline than other calls.
    has_stream_time: bool,
    /// How many bytes each stream of the other side may send before it is granted more, or all of
    /// them together if that is less.
    credit: u32,
    /// Why the connection is to be closed if nothing has come over it.
    asked: Option<String>,
    /// Something has come since the last time that it was asked for.
    has_received: bool,
    activity: ActivityReport,
    /// To be woken after the work at hand, without locks.
    wakers: Vec<Waker>,
    timer: DriverTimer,
}

/// At most this many reads for large packets are answered together, so that a peer waits little for
/// the first answer.
const LARGE_READS: usize = 4;

/// How long a connection that is over may take to write its last packet.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl Driver {
    /// The driver of a connection over a new transport, which serves the calls of the other side with
    /// `inbound`. Its future is to be spawned in the runtime of the transport; dropping it ends the
    /// connection.
    pub(crate) fn new(
        new: NewTransport,
        connection: Protocol,
        config: &Config,
        inbound: Inbound,
        handle: Arc<ConnectionHandle>,
        peer: Weak<dyn Caller>,
    ) -> Self {
        let limits = config.limits();
        let all = limits.request_credit_bytes.min(limits.reply_credit_bytes);
        Self {
            transport: TransportBox(new.transport),
            input: Input::beginning_with(new.start),
            connection,
            handle,
            inbound,
            incoming: IncomingCalls::default(),
            peer,
            commands: Vec::new(),
            calls_to_watch: Vec::new(),
            has_gathered: false,
            puts_off_clock: false,
            needs_flush: false,
            failed: None,
            capacity: Capacity::ANY,
            has_full_capacity: false,
            is_draining: false,
            has_stream_time: config.max_stream_time().is_some(),
            credit: limits.initial_credit_bytes.min(all),
            asked: None,
            has_received: false,
            activity: ActivityReport::new(clock::now()),
            wakers: Vec::new(),
            timer: DriverTimer::new(),
        }
    }

    /// Drives the connection to its end.
    #[allow(
        clippy::manual_async_fn,
        reason = "the future of an async fn has room for its argument twice"
    )]
    pub(crate) fn run(mut self) -> impl Future<Output = ()> {
        async move {
            let error = match poll_fn(|cx| Poll::Ready(self.begin(cx))).await {
                Ok(()) => poll_fn(|cx| self.poll(cx)).await,
                Err(error) => error,
            };
            let (peer, side) = (&self.handle, self.handle.side());
            tracing::debug!(%error, %peer, ?side, "connection over");
            self.end(&error);
            // The other side should hear why; if it cannot, its own timers tell it. Boxed, so that the
            // tasks of connections that go on have no room for it.
            let _ = Box::pin(timeout(CLOSE_TIMEOUT, self.close())).await;
        }
    }

    /// Handles what was read before there was a driver.
    fn begin(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        match self.input.bytes.is_empty() {
            true => Ok(()),
            false => self.handle_events(cx, clock::now()),
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
        // Callers that never pause must not hold up the clock. Writing and reading come first, or time
        // in which this process stood still would be held against the other side.
        if is_late {
            self.handle_timeout(cx, clock::now())?;
        }
        if self.handle.mailbox().poll(cx) {
            self.has_gathered = true;
            cx.waker().wake_by_ref();
            return Ok(NextStep::Wait);
        }
        // This read may have been the last for now, as the next round finds: that one looks at the
        // clock for both. But not the one behind it, or a peer that sends without a pause would hold
        // up the clock.
        self.puts_off_clock = read && !self.puts_off_clock;
        if self.puts_off_clock {
            return Ok(NextStep::Again);
        }
        if self.timer.is_due(self.connection.poll_timeout(), cx) {
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

    /// Reads once and acts on it, or up to [`LARGE_READS`] times if it is large: a message that is read
    /// in parts is answered in one write.
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

    /// The transport takes nothing more. All that has come over it is read all the same: replies,
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
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionError> {
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

    fn wake_all(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// How far a write came.
enum WriteProgress {
    /// All has left the transport.
    All,
    /// The transport takes no more.
    Blocked,
}

/// Whether there is more to do at once.
enum NextStep {
    Again,
    Wait,
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
