//! The task that owns a connection: the place where the protocol meets I/O, once the hellos are exchanged
//! (see [`NewConnection`]).
//!
//! Each file below this module is one duty of the driver. The tables and records that the driver keeps
//! are types of their own, beside it: [`IncomingCalls`], [`Input`], [`ActivityReport`],
//! [`OutgoingCall`](crate::connection::outgoing::OutgoingCall).
//!
//! ```text
//!   driver        the loop: in which order it writes, reads, takes commands, looks at the clock
//!   output        writes, and sets how much the mailbox takes meanwhile
//!   commands      takes commands from the mailbox
//!   events        acts on the events of the protocol
//!   serve         serves the calls of the other side      calls   starts those of this side
//!   streams       the messages of both, between inboxes, outboxes and the protocol
//!   observe       records the calls of the other side for observers
//!   drain activity snapshot end                             what their names say
//! ```

mod activity;
mod calls;
mod commands;
mod drain;
mod end;
mod events;
mod observe;
mod output;
mod serve;
mod snapshot;
mod streams;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use wawo_protocol::{Config, ConnectionError};

use crate::{
    clock,
    connection::{
        activity::ActivityReport,
        deadline_watch::WatchedCall,
        handle::ConnectionHandle,
        incoming::IncomingCalls,
        input::Input,
        loss::{ended, lost},
        mailbox::{Capacity, Command},
        new_connection::NewConnection,
        observation::Observation,
        outgoing::Protocol,
        writer::WriteProgress,
    },
    request::Caller,
    serve::inbound::Inbound,
    timer::TaskTimer,
    transport::Transport,
};

/// Owns one connection and its transport.
///
/// The driver is one loop, which never waits for a write. A round writes as much as the transport takes,
/// reads once and acts on what came, then looks into the mailbox. If commands are there, the driver first
/// lets every task that is ready run once, so that the calls of all these tasks leave in the same write.
#[derive(Debug)]
pub(crate) struct Driver {
    transport: TransportBox,
    input: Input,
    connection: Protocol,
    handle: Arc<ConnectionHandle>,
    inbound: Inbound,
    incoming: IncomingCalls,
    /// The peer, which requests carry. It is weak: a strong one would keep the connection open for ever.
    peer: Weak<dyn Caller>,
    /// Makes the caller that requests carry, if it is not the peer as a whole.
    own_caller: Option<Box<dyn MakeCaller>>,
    /// Whether requests get the caller above, or a deadline of streams, or are observed.
    extends_requests: bool,
    commands: Vec<Command>,
    /// Calls with deadlines that were started while commands were taken.
    calls_to_watch: Vec<WatchedCall>,
    /// Whether commands were seen, and other tasks have had time to add theirs.
    has_gathered: bool,
    /// Whether the transport has taken bytes since its last flush. It may hold them back until the next.
    needs_flush: bool,
    /// Whether the last round left the check of the clock to this one.
    puts_off_clock: bool,
    /// The error of an early write. The next write returns it, after the input has been handled. Boxed, because
    /// few drivers have one.
    failed: Option<Box<ConnectionError>>,
    /// How many calls the mailbox may take. None, while too much waits to be written, or for the other
    /// side's limits.
    capacity: Capacity,
    /// Whether `capacity` was set while no call waited for the other side's limits. Then it need not be
    /// computed again as long as none waits.
    has_full_capacity: bool,
    /// Whether this side takes no more calls.
    is_draining: bool,
    /// Whether streams of the other side have another deadline than its other calls.
    has_stream_time: bool,
    /// How many bytes the other side may send in each stream before it is granted more credit. At most
    /// the credit of all streams together.
    credit: u32,
    activity: ActivityReport,
    /// Observes the calls of the other side; `None` if nobody does.
    observation: Option<Box<Observation>>,
    /// Tasks to wake after the current round of events, when no lock is held.
    wakers: Vec<Waker>,
    timer: TaskTimer,
}

/// A round makes further reads for large packets until it has read this many bytes. The replies to them
/// leave in one write, so more would make the peer wait longer for the first reply.
const LARGE_READ_BYTES: usize = 128 * 1024;

/// How many reads one round makes, at most. Inside of TLS a read gives one record, at most 16 KiB.
const MAX_READS: usize = 16;

impl Driver {
    /// Creates the driver of a connection whose hellos are exchanged: from now on it is open. It serves the
    /// calls of the other side with `inbound`. The caller spawns its future in the runtime of the
    /// transport; dropping the future ends the connection.
    pub(crate) fn new(
        mut new: NewConnection,
        config: &Config,
        inbound: Inbound,
        handle: Arc<ConnectionHandle>,
        peer: Weak<dyn Caller>,
    ) -> Self {
        let limits = config.limits();
        let all = limits.request_credit_bytes.min(limits.reply_credit_bytes);
        if let Some(hello) = new.take_hello() {
            handle.open(hello, new.take_identity());
            handle.compare_schemas();
        }
        let observers = inbound.observers();
        let observation =
            observers.map(|observers| Box::new(Observation::new(observers, &handle, clock::now())));
        Self {
            transport: TransportBox(new.transport),
            input: Input::beginning_with(new.input),
            connection: new.protocol,
            handle,
            inbound,
            incoming: IncomingCalls::default(),
            peer,
            own_caller: None,
            extends_requests: config.max_stream_time().is_some() || observation.is_some(),
            commands: Vec::new(),
            calls_to_watch: Vec::new(),
            has_gathered: false,
            puts_off_clock: false,
            needs_flush: new.needs_flush,
            failed: None,
            capacity: Capacity::ANY,
            has_full_capacity: false,
            is_draining: false,
            has_stream_time: config.max_stream_time().is_some(),
            credit: limits.initial_credit_bytes.min(all),
            activity: ActivityReport::new(clock::now()),
            observation,
            wakers: Vec::new(),
            timer: new.timer,
        }
    }

    /// Lets each request of the other side carry a caller that knows this connection: the peer has others,
    /// which drain at other times, and over which another identity may be proven.
    pub(crate) fn with_own_caller(mut self, make: impl MakeCaller) -> Self {
        self.own_caller = Some(Box::new(make));
        self.extends_requests = true;
        self
    }

    /// Drives the connection to its end.
    #[allow(
        clippy::manual_async_fn,
        reason = "the future of an async fn has room for its argument twice"
    )]
    pub(crate) fn run(mut self) -> impl Future<Output = ()> {
        async move {
            let mut has_begun = false;
            // It ends itself in there, so that the task has no room for the error.
            poll_fn(|cx| {
                let polled = match std::mem::replace(&mut has_begun, true) {
                    true => self.poll(cx),
                    false => self.begin(cx),
                };
                polled.map(|error| self.over(&error))
            })
            .await;
            // Boxed, so that the tasks of open connections have no room for it.
            Box::pin(self.close()).await;
        }
    }

    /// Handles the bytes that were read before there was a driver. A program may close the peer as soon as
    /// the connection is open: then no call in them is served.
    fn begin(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionError> {
        let handled = match self.handle.mailbox().has_close() {
            true => self.take_commands(cx).map(drop),
            false if self.input.bytes.is_empty() => Ok(()),
            false => self.handle_events(cx, clock::now()),
        };
        match handled {
            Ok(()) => self.poll(cx),
            Err(error) => Poll::Ready(error),
        }
    }

    /// The connection is over: all who wait for it get the reason.
    fn over(&mut self, error: &ConnectionError) {
        let handle = &self.handle;
        let warnings = handle.warnings();
        warnings.connection_over(handle, handle.side(), error);
        self.end(error);
    }

    /// Runs rounds until the connection is over or has to wait.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionError> {
        loop {
            match self.drive(cx) {
                Ok(NextStep::Again) => {}
                Ok(NextStep::Wait) => {
                    self.record_has_calls();
                    if self.observation.is_some() {
                        self.record_gauges();
                    }
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
        // Callers that send commands without a pause must not hold up the timeouts. Writing and reading
        // come before this check: otherwise, after a time in which this process stood still, the other
        // side would be timed out although its bytes are here.
        if is_late {
            self.handle_timeout(cx, clock::now())?;
        }
        if self.handle.mailbox().poll(cx) {
            self.has_gathered = true;
            cx.waker().wake_by_ref();
            return Ok(NextStep::Wait);
        }
        // The next round finds whether more has come, and checks the clock once for both rounds. It does
        // not put off the check again: otherwise a peer that sends without a pause would hold up the
        // timeouts.
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

    /// Reads once and handles what came. For large packets it reads on, up to [`LARGE_READ_BYTES`], so that
    /// the replies to messages that come in several reads leave in one write.
    fn read_on(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionError> {
        let mut bytes = 0;
        for _ in 0..MAX_READS {
            let read = self.read(cx)?;
            bytes += read;
            // A write may have made events too: it makes room that streams wait for.
            if read > 0 || self.connection.has_events() {
                self.handle_events(cx, clock::now())?;
            }
            if read == 0 || !self.input.is_large() || bytes >= LARGE_READ_BYTES {
                break;
            }
        }
        Ok(bytes > 0)
    }

    /// Reads all that has come, after the transport refused a write: replies, and perhaps the close
    /// packet that says why the other side ended the connection.
    fn read_out(&mut self, cx: &mut Context<'_>, error: ConnectionError) -> ConnectionError {
        while let Ok(1..) = self.read(cx) {
            if let Err(error) = self.handle_events(cx, clock::now()) {
                return error;
            }
        }
        error
    }

    /// Reads once; returns the number of bytes, 0 if none were there.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<usize, ConnectionError> {
        let transport = Pin::new(&mut *self.transport.0);
        match self.input.read(transport, &mut self.connection, cx) {
            Poll::Pending => Ok(0),
            Poll::Ready(Ok(0)) => Err(lost(ended())),
            Poll::Ready(Ok(read)) => {
                if let Some(observation) = &mut self.observation {
                    observation.add_read(read);
                }
                Ok(read)
            }
            Poll::Ready(Err(error)) => Err(lost(error)),
        }
    }

    fn wake_all(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// Whether the driver has more to do before it waits.
enum NextStep {
    Again,
    Wait,
}

/// Makes the caller of one request. It returns `None` if the peer is gone.
pub(crate) trait MakeCaller: Fn() -> Option<Arc<dyn Caller>> + Send + 'static {}

impl<F: Fn() -> Option<Arc<dyn Caller>> + Send + 'static> MakeCaller for F {}

impl std::fmt::Debug for dyn MakeCaller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MakeCaller")
    }
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
