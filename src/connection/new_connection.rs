//! A connection that has no driver yet.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use wawo_protocol::{CloseCode, Config, ConnectionError, CredentialsTooLong, Event, Hello};

use crate::{
    clock,
    connection::{
        decision::{Decision, PendingCheck},
        loss::{ended, lost, lost_early},
        outgoing::Protocol,
        writer::{self, WriteProgress},
    },
    identity::{CheckedHello, Identity},
    timer::TaskTimer,
    transport::{Transport, begins_tls},
};

/// A transport, and the bytes that were already read from it.
pub(crate) struct NewTransport {
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) start: BytesMut,
    /// Whether some of the bytes have come since a server last asked for them.
    pub(crate) has_received: bool,
}

impl From<Box<dyn Transport>> for NewTransport {
    fn from(transport: Box<dyn Transport>) -> Self {
        Self {
            transport,
            start: BytesMut::new(),
            has_received: false,
        }
    }
}

/// A transport, and the state of its connection before there is a driver: it exchanges the hellos. Then a
/// driver goes on, and gets the bytes behind the hello as its first input.
///
/// ```text
///               their hello          accepted
///  poll_handshake ───────► Decision ──────────► (the answer, if this side accepts) ──► a driver
///        │                    └─ refused, no time ────┐
///        └─ fault, loss, timeout, close, drain ───────┴──► end: writes the close packet
/// ```
///
/// The time of `handshake_timeout` begins when it is made, and includes the decision.
pub(crate) struct NewConnection {
    pub(super) transport: Box<dyn Transport>,
    /// The bytes that have come and are not handled yet.
    pub(super) input: BytesMut,
    pub(super) protocol: Protocol,
    /// Whether the transport has taken bytes since its last flush.
    pub(super) needs_flush: bool,
    pub(super) timer: TaskTimer,
    /// The hello of the other side, if it has come.
    hello: Option<Box<Hello>>,
    decision: Decision,
    /// The identity that the other side has proven.
    identity: Option<Identity>,
    /// Whether bytes have come since [`has_received`](Self::has_received) was last asked.
    has_received: bool,
}

/// How many bytes one read takes, at most. Most hellos are shorter. The room for a read is on the stack, so
/// that a slow peer makes this side hold only what has come.
const READ_BYTES: usize = 1024;

impl NewConnection {
    /// A connection that this side opens, with these credentials. The time for the other side's hello
    /// begins at `since`.
    ///
    /// # Errors
    ///
    /// If the credentials are too long for a hello.
    pub(crate) fn connecting(
        new: NewTransport,
        config: Arc<Config>,
        credentials: Bytes,
        since: Instant,
    ) -> Result<Self, CredentialsTooLong> {
        let protocol = Protocol::connecting(config, credentials, since)?;
        Ok(Self::new(new, protocol))
    }

    /// A connection that this side has accepted. The time for the other side's hello begins at `since`.
    pub(crate) fn accepting(new: NewTransport, config: Arc<Config>, since: Instant) -> Self {
        Self::new(new, Protocol::accepting(config, since))
    }

    fn new(new: NewTransport, protocol: Protocol) -> Self {
        Self {
            transport: new.transport,
            input: new.start,
            protocol,
            needs_flush: false,
            timer: TaskTimer::default(),
            hello: None,
            decision: Decision::Due(None),
            identity: None,
            has_received: new.has_received,
        }
    }

    /// Sets how the hello of the other side is checked. By default every hello is accepted.
    pub(crate) fn checked_by(mut self, check: Option<Box<PendingCheck>>) -> Self {
        self.decision = Decision::Due(check);
        self
    }

    /// Exchanges the hellos: reads that of the other side, decides about it, and on the accepting side
    /// answers it; the bytes of the answer wait for the driver. If the other side leaves during the decision, the
    /// decision is dropped.
    ///
    /// # Errors
    ///
    /// If the connection is over. [`end`](Self::end) has to follow.
    pub(crate) fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectionError>> {
        if self.hello.is_none() {
            ready!(self.poll_hello(cx))?;
        }
        let Some(hello) = &mut self.hello else {
            return Poll::Pending;
        };
        let Poll::Ready(decided) = self.decision.poll(hello, &self.transport, cx) else {
            return match self.check_presence(cx) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            };
        };
        Poll::Ready(match decided.and_then(|checked| self.accept(checked)) {
            Ok(()) => Ok(()),
            Err(error) => {
                if let Some((code, text)) = error.close_packet() {
                    self.protocol.close(code, &text);
                }
                Err(error)
            }
        })
    }

    /// Reads until the hello of the other side is whole; the connecting side writes its own meanwhile. What
    /// the other side has sent behind its hello stays unread. The input is bounded by the length of a
    /// hello and one read.
    ///
    /// # Errors
    ///
    /// If the connection is over.
    fn poll_hello(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        loop {
            if self.find_hello()? {
                return Poll::Ready(Ok(()));
            }
            if let Err(error) = self.write(cx) {
                return Poll::Ready(Err(self.read_out(cx, error)));
            }
            if self.read(cx).map_err(lost_early)? {
                continue;
            }
            if !self.timer.is_due(self.protocol.poll_timeout(), cx) {
                return Poll::Pending;
            }
            self.protocol.handle_timeout(clock::now())?;
        }
    }

    /// Notices that the other side leaves while its hello is being decided. Bytes that come meanwhile are for
    /// the driver; behind them this side reads no more, so that they stay few, and leaving is noticed by
    /// the driver only.
    ///
    /// # Errors
    ///
    /// If the other side has left.
    fn check_presence(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        if !self.input.is_empty() {
            return Ok(());
        }
        self.read(cx).map(drop).map_err(|error| {
            // The check ends now, not when the close packet is through.
            self.decision = Decision::Due(None);
            lost(error)
        })
    }

    /// Keeps the identity of the other side, and answers its hello. On the connecting side there is no
    /// answer.
    ///
    /// # Errors
    ///
    /// If the credentials of this side are too long for a hello.
    fn accept(&mut self, checked: CheckedHello) -> Result<(), ConnectionError> {
        self.identity = checked.identity;
        let accepted = self.protocol.accept(clock::now(), checked.credentials);
        accepted.map_err(|error| ConnectionError::NoCredentials(Arc::new(error)))
    }

    /// The identity that the other side has proven, once [`poll_handshake`](Self::poll_handshake) has
    /// succeeded.
    pub(super) fn take_identity(&mut self) -> Option<Identity> {
        self.identity.take()
    }

    /// Whether the hello of the other side has come.
    pub(crate) fn has_hello(&self) -> bool {
        self.hello.is_some()
    }

    /// The hello of the other side, once [`poll_handshake`](Self::poll_handshake) has
    /// succeeded.
    pub(super) fn take_hello(&mut self) -> Option<Hello> {
        self.hello.take().map(|hello| *hello)
    }

    /// Whether the other side begins TLS, which is not spoken here.
    pub(crate) fn begins_tls(&self) -> bool {
        begins_tls(&self.input)
    }

    pub(crate) fn into_transport(self) -> Box<dyn Transport> {
        self.transport
    }

    /// Whether bytes have come since the last call of this.
    pub(crate) fn has_received(&mut self) -> bool {
        std::mem::take(&mut self.has_received)
    }

    /// Closes the connection with a reason for the other side. [`end`](Self::end) has to follow.
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str) {
        self.protocol.close(code, reason);
    }

    /// Writes the rest of the output, for at most a second. `error` is the reason why the connection is
    /// over.
    pub(crate) async fn end(&mut self, error: &ConnectionError) {
        if matches!(error, ConnectionError::Lost(_)) {
            self.protocol.lose();
        }
        writer::close(&mut self.transport, self.protocol.output()).await;
    }

    /// Looks for the hello in the input. Returns `false` if it is not whole.
    fn find_hello(&mut self) -> Result<bool, ConnectionError> {
        let event = self.protocol.poll_event(clock::now(), &mut self.input)?;
        // The hello is the first event.
        if let Some(Event::Opened(hello)) = event {
            self.hello = Some(hello);
        }
        Ok(self.hello.is_some())
    }

    /// Writes and flushes, until all output has left or the transport takes no more.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<WriteProgress, ConnectionError> {
        let (transport, protocol) = (&mut self.transport, &mut self.protocol);
        while !protocol.output().is_empty() {
            match writer::poll_write(transport, protocol.output(), cx) {
                Poll::Pending => {
                    protocol.output_blocked(clock::now());
                    return Ok(WriteProgress::Blocked);
                }
                Poll::Ready(Ok(0)) => return Err(lost(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    protocol.output().advance(written);
                    self.needs_flush = true;
                }
                Poll::Ready(Err(error)) => return Err(lost_early(error)),
            }
        }
        writer::flush(transport, protocol, &mut self.needs_flush, cx)
    }

    /// Reads once. Returns `false` if no bytes were there.
    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut bytes = [0; READ_BYTES];
        let mut buf = ReadBuf::new(&mut bytes);
        match Pin::new(&mut self.transport).poll_read(cx, &mut buf) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(())) if buf.filled().is_empty() => Err(ended()),
            Poll::Ready(Ok(())) => {
                self.input.extend_from_slice(buf.filled());
                self.has_received = true;
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(error),
        }
    }

    /// Reads what has come, after the transport refused a write: perhaps the close packet that says why
    /// the other side ended the connection.
    fn read_out(&mut self, cx: &mut Context<'_>, error: ConnectionError) -> ConnectionError {
        while let Ok(true) = self.read(cx) {
            match self.find_hello() {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => return error,
            }
        }
        error
    }
}
