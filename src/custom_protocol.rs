//! Custom protocols: services, peers and layers over packets that a codec of the user's own reads and
//! writes.
//!
//! A driver speaks wawo's protocol only. [`CustomProtocol`] is a transport that contains the other half
//! of a native connection. The calls and replies between the driver and that half are translated to
//! packets of the codec, which go to and come from the real other end.
//!
//! ```text
//!  Driver ◄──── wawo's protocol ────► Connection ◄── calls ──► codec ◄── bytes ──► transport
//!               (in this process)     the peer's half          yours               socket
//! ```
//!
//! So deadlines, limits, cancellation, panics and layers work as over wawo's own protocol, and the driver
//! does not know about the codec.

mod bridge;
mod call_numbers;
mod far_end;
mod fault;
mod packet;
mod shared_port;

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;
use wawo_protocol::{ConnectionError, Side};

pub use crate::custom_protocol::{
    packet::{CustomPacket, PacketCodec, PacketKind},
    shared_port::PacketProtocol,
};
use crate::{
    clock,
    custom_protocol::{bridge::Bridge, fault::ProtocolFault},
    timer::TaskTimer,
    transport::Transport,
};

/// A transport over which a connection speaks a protocol of your own, which a [`PacketCodec`] reads and
/// writes. Give [`CustomProtocol::accepting`] to [`Server::bind_with`](crate::Server::bind_with) or
/// [`Server::accept_over`](crate::Server::accept_over), and [`CustomProtocol::connecting`] to
/// [`PeerBuilder::connect_over`](crate::PeerBuilder::connect_over). Both ends may call; the other end
/// need not know wawo. A [`PacketProtocol`] shares a port with wawo's own protocol.
///
/// ```no_run
/// # async fn serve(
/// #     chat: impl wawo::Serve,
/// #     legacy: impl wawo::PacketCodec + Clone + Sync,
/// # ) -> Result<(), wawo::ServeError> {
/// let server = wawo::Server::builder().add_service(chat);
/// let mut server = server.bind("tcp://127.0.0.1:4000").await?;
/// let custom_protocol = move |transport| wawo::CustomProtocol::accepting(transport, legacy.clone());
/// server.bind_with("tcp://127.0.0.1:4001", custom_protocol).await?;
/// server.run().await
/// # }
/// ```
///
/// It carries unary calls and one-way messages. A method that returns a stream ends with `Unimplemented`;
/// one that only takes a stream gets a stream of one message. It does not carry metadata, the details of
/// a status, or deadlines: each call that comes has [`call_timeout`](Self::call_timeout). A call to the
/// other end that is cancelled, or whose deadline passes, becomes a [`PacketKind::Cancel`].
///
/// An [authenticator](crate::ServerBuilder::authenticate) is asked for it too, and sees no credentials and no
/// name: it can decide by the address, and by the [facts](crate::Transport::facts) if a
/// [`TransportWithFacts`](crate::transport::TransportWithFacts) is around it. A protocol with a login of its
/// own lets everyone in there, and checks its calls.
///
/// The connection is closed in these cases; [`Peer::closed`](crate::Peer::closed) returns the reason:
///
/// - the codec fails, or a packet is longer than [`max_packet_bytes`](Self::max_packet_bytes);
/// - the other end starts a call under a number that is in flight, replies to a call that was never made,
///   or sends a one-way message over the limits of this side;
/// - the other end closes the transport, even in one direction only; then calls in flight are over;
/// - 1 MiB waits for the transport, and it takes nothing for the `write_timeout` of this side's
///   [`Config`](crate::Config). There is no ping: an idle connection is left to the transport.
///
/// A call beyond the `max_calls` of this side fails with `ResourceExhausted`, and the connection goes on.
/// While 4 MiB that came wait for the other limits of this side, such as `request_credit_bytes`, nothing
/// more is read. At most 1,024 calls to the other end are in flight at a time. At most 1 MiB and one
/// packet wait for the transport, or twice that if the other end sends calls that are refused; more waits
/// with its senders. Dropping it drops the transport.
pub struct CustomProtocol<T, C> {
    transport: T,
    codec: C,
    side: Side,
    bridge: Bridge,
    /// Bytes that have come and are not handled: part of a packet, or packets that wait for room.
    input: BytesMut,
    /// Bytes that wait for the transport.
    output: BytesMut,
    is_flushed: bool,
    max_packet_bytes: usize,
    timer: TaskTimer,
    transport_state: TransportState,
}

/// Whether the transport has failed.
#[derive(Debug)]
enum TransportState {
    Open,
    /// The transport has failed, and the driver gets the error once it has read all that came before.
    Failed(io::Error),
    Reported,
}

/// The default of [`CustomProtocol::max_packet_bytes`].
const MAX_PACKET_BYTES: usize = 128 * 1024 + HEADER_BYTES;

/// How many bytes a packet may have besides its payload.
const HEADER_BYTES: usize = 64;

/// How many bytes one read takes, at most.
const READ_BYTES: usize = 16 * 1024;

/// While more bytes than this wait for the transport, nothing is taken from the driver.
const FULL_OUTPUT_BYTES: usize = 1024 * 1024;

/// While more bytes than this wait for the transport, nothing is read either: the other end sends calls
/// that are refused, and does not read the refusals. It is more than the driver alone can cause.
/// Otherwise two ends that both write would wait for each other.
const MAX_OUTPUT_BYTES: usize = 2 * FULL_OUTPUT_BYTES;

impl<T: Transport, C: PacketCodec> CustomProtocol<T, C> {
    /// The end that accepts connections, for a [`Server`](crate::Server).
    pub fn accepting(transport: T, codec: C) -> Self {
        // The bridge is the other end of the driver's connection, so it has the other side.
        Self::new(transport, codec, Side::Connecting)
    }

    /// The end that connects, for [`PeerBuilder::connect_over`](crate::PeerBuilder::connect_over).
    pub fn connecting(transport: T, codec: C) -> Self {
        Self::new(transport, codec, Side::Accepting)
    }

    fn new(transport: T, codec: C, side: Side) -> Self {
        Self {
            transport,
            codec,
            side,
            bridge: Bridge::new(side, clock::now(), MAX_PACKET_BYTES - HEADER_BYTES),
            input: BytesMut::new(),
            output: BytesMut::new(),
            is_flushed: true,
            max_packet_bytes: MAX_PACKET_BYTES,
            timer: TaskTimer::default(),
            transport_state: TransportState::Open,
        }
    }

    /// How many bytes a packet of the other end may have, with its header. Default 128 KiB and 64 bytes.
    ///
    /// Messages to the other end may be 64 bytes shorter than that, but always 64 KiB long; a call or
    /// reply with a longer one fails with `ResourceExhausted`.
    #[must_use = "returns the transport with the setting"]
    pub fn max_packet_bytes(mut self, max: usize) -> Self {
        self.max_packet_bytes = max;
        let message = max.saturating_sub(HEADER_BYTES);
        self.bridge.announce(self.side, clock::now(), message);
        self
    }

    /// The timeout of each call of the other end. When it is over, the call fails with
    /// `DeadlineExceeded`. Default 10 s; `None` for no deadline.
    #[must_use = "returns the transport with the setting"]
    pub fn call_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.bridge.call_timeout = timeout;
        self
    }

    /// The largest call number of this side, if the protocol has fewer bits for it. Default 2^32 - 1.
    /// Numbers go from 1 up to it and begin again, so with a small one a very late reply may be taken for
    /// the reply to a later call. Zero counts as 1.
    #[must_use = "returns the transport with the setting"]
    pub fn max_call_number(mut self, max: u32) -> Self {
        self.bridge.call_numbers.max_call_number = max.max(1);
        self
    }

    /// Does all that is possible now, in both directions.
    fn advance(&mut self, cx: &mut Context<'_>) {
        loop {
            if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
                self.lose(error);
            }
            let encoded = self.encode();
            let read = self.read(cx);
            let expired = self.expire(cx);
            if !(encoded || read || expired) {
                return;
            }
        }
    }

    /// Writes the output to the transport.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let transport = Pin::new(&mut self.transport);
            let written = ready!(transport.poll_write(cx, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
            self.is_flushed = false;
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Encodes the output of the driver as packets for the other end. Returns `false` if there is none,
    /// or no room for it.
    fn encode(&mut self) -> bool {
        let now = clock::now();
        let mut encoded = false;
        while self.output.len() < FULL_OUTPUT_BYTES && !self.is_lost() {
            match self.bridge.poll_packet(now) {
                Ok(Some(packet)) => self.put(packet),
                // The driver has closed the connection.
                Ok(None) | Err(ConnectionError::ClosedByPeer { .. }) => break,
                Err(error) => self.misused(&error),
            }
            encoded = true;
        }
        encoded
    }

    fn put(&mut self, packet: CustomPacket) {
        let before = self.output.len();
        if let Err(error) = self.codec.encode(packet, &mut self.output) {
            self.output.truncate(before);
            self.bridge.close(&ProtocolFault::Encode(error.into()));
        }
    }

    /// Handles the packets that came, and reads once. Returns `false` if nothing came, or there is no
    /// room for it.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let now = clock::now();
        let mut handled = false;
        while self.bridge.has_room() && self.output.len() < MAX_OUTPUT_BYTES && !self.is_lost() {
            match self.codec.decode(&mut self.input) {
                Ok(Some(packet)) => self.handle_packet(now, packet),
                Ok(None) => return self.fill(cx) || handled,
                Err(error) => self.bridge.close(&ProtocolFault::Decode(error.into())),
            }
            handled = true;
        }
        handled
    }

    fn handle_packet(&mut self, now: Instant, packet: CustomPacket) {
        match self.bridge.handle_packet(now, packet) {
            Ok(None) => {}
            Ok(Some(refusal)) => self.put(refusal),
            Err(fault) => self.bridge.close(&fault),
        }
    }

    /// Reads more of an incomplete packet. Returns `false` if there is nothing.
    fn fill(&mut self, cx: &mut Context<'_>) -> bool {
        let (length, max) = (self.input.len(), self.max_packet_bytes);
        if length >= max {
            self.bridge.close(&ProtocolFault::NoPacket(length));
            return true;
        }
        let room = READ_BYTES.min(max - length);
        self.input.reserve(room);
        let transport = Pin::new(&mut self.transport);
        match poll_read_buf(transport, cx, &mut (&mut self.input).limit(room)) {
            Poll::Pending => return false,
            Poll::Ready(Ok(0)) if length > 0 => self.bridge.close(&ProtocolFault::CutOff(length)),
            Poll::Ready(Ok(0)) => self.bridge.close(&ProtocolFault::Ended),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => self.lose(error),
        }
        true
    }

    fn expire(&mut self, cx: &mut Context<'_>) -> bool {
        let next = self.bridge.poll_timeout();
        let due = self.timer.is_due(next, cx);
        if due {
            self.bridge.handle_timeout(clock::now());
        }
        due
    }

    /// Records that the transport has failed; it is not used any more.
    fn lose(&mut self, error: io::Error) {
        self.output.clear();
        self.is_flushed = true;
        self.transport_state = TransportState::Failed(error);
    }

    /// Ends a connection whose driver has the same side as the bridge, which is a mistake of the program.
    fn misused(&mut self, error: &ConnectionError) {
        let text = format!(
            "{error}; use CustomProtocol::accepting for a server, CustomProtocol::connecting for connect_over"
        );
        // Such a driver would not understand the bridge's close packet.
        self.bridge.lose();
        self.lose(io::Error::new(io::ErrorKind::InvalidInput, text));
    }

    fn is_lost(&self) -> bool {
        !matches!(self.transport_state, TransportState::Open)
    }

    /// Whether bytes of the driver are ignored.
    fn is_over(&self) -> bool {
        self.is_lost() || self.bridge.is_closed()
    }
}

impl<T: Transport, C: PacketCodec> AsyncRead for CustomProtocol<T, C> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.advance(cx);
        if this.bridge.read_output(buf) || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        match std::mem::replace(&mut this.transport_state, TransportState::Reported) {
            TransportState::Failed(error) => Poll::Ready(Err(error)),
            TransportState::Reported => Poll::Ready(Ok(())),
            TransportState::Open => {
                this.transport_state = TransportState::Open;
                match this.bridge.is_closed() {
                    true => Poll::Ready(Ok(())),
                    false => Poll::Pending,
                }
            }
        }
    }
}

impl<T: Transport, C: PacketCodec> AsyncWrite for CustomProtocol<T, C> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.output.len() >= FULL_OUTPUT_BYTES {
            this.advance(cx);
        }
        if this.is_over() {
            // The driver gets the error, with its reason, when it reads.
            return Poll::Ready(Ok(bytes.len()));
        }
        if this.output.len() >= FULL_OUTPUT_BYTES {
            return Poll::Pending;
        }
        let taken = bytes.len().min(READ_BYTES);
        this.bridge.write_input(&bytes[..taken]);
        this.advance(cx);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.advance(cx);
        match this.output.is_empty() {
            true => this.poll_drain(cx),
            false => Poll::Pending,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

impl<T, C> fmt::Debug for CustomProtocol<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomProtocol")
            .field("bridge", &self.bridge)
            .field("transport_state", &self.transport_state)
            .finish_non_exhaustive()
    }
}
