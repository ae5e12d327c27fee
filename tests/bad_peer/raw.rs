//! A peer that sends any bytes and reads packets.

use std::io;

use bytes::{Buf, BytesMut};
use futures::FutureExt as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream},
    net::TcpStream,
};
use wawo::{CloseCode, Limits};
use wawo_protocol::packet::{End, PREFACE, Packet, decode, decode_preface};

use crate::wire::{CREDIT, HELLO, REPLIES, packet, ping};

/// One end of a connection, controlled by a test. It keeps no rule by itself.
pub(crate) struct Raw {
    io: Box<dyn Io>,
    input: BytesMut,
    /// Whether the server's preface was read.
    is_prefaced: bool,
    pings: u64,
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl Io for DuplexStream {}

impl Io for TcpStream {}

#[cfg(feature = "tls")]
impl Io for tokio_rustls::client::TlsStream<TcpStream> {}

/// Limits that allow any packet of a server.
const ANY: Limits = {
    let mut limits = Limits::MINIMUM;
    limits.max_packet_bytes = 1 << 30;
    limits
};

/// The number of times that the tasks of a test run before their output is complete.
const TURNS: usize = 8;

impl Raw {
    pub(crate) fn over_memory(io: DuplexStream) -> Self {
        Self::over(Box::new(io))
    }

    pub(crate) async fn over_tcp(address: &str) -> Self {
        let address = address.trim_start_matches("tcp://");
        let io = TcpStream::connect(address).await.unwrap();
        io.set_nodelay(true).unwrap();
        Self::over(Box::new(io))
    }

    /// Connects from another address of this machine. Linux has all of 127.0.0.0/8.
    #[cfg(target_os = "linux")]
    pub(crate) async fn over_tcp_from(from: &str, address: &str) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let address = address.trim_start_matches("tcp://").parse().unwrap();
        let io = socket.connect(address).await.unwrap();
        Self::over(Box::new(io))
    }

    pub(crate) fn over(io: Box<dyn Io>) -> Self {
        Self {
            io,
            input: BytesMut::new(),
            is_prefaced: false,
            pings: 0,
        }
    }

    /// Sends the preface and a hello with minimums only, and reads the server's.
    pub(crate) async fn greet(&mut self) {
        self.send(PREFACE).await.unwrap();
        self.send(packet(HELLO)).await.unwrap();
        let hello = self.next().await;
        assert!(matches!(hello, Some(Packet::Hello(_))), "{hello:?}");
    }

    /// # Errors
    ///
    /// If the server has closed.
    pub(crate) async fn send(&mut self, bytes: impl Into<Vec<u8>>) -> io::Result<()> {
        self.io.write_all(&bytes.into()).await?;
        // TLS may hold the tail back until then.
        self.io.flush().await
    }

    /// Takes any replies: grants the maximum credit for all of them together.
    pub(crate) async fn take_all_replies(&mut self) {
        let most = packet(CREDIT).flags(REPLIES).u32(1 << 30);
        self.send(most).await.unwrap();
    }

    /// Sends the bytes repeatedly, until the server has closed or `times` is reached; returns the
    /// number of times.
    pub(crate) async fn flood(&mut self, bytes: impl Into<Vec<u8>>, times: usize) -> usize {
        let bytes = bytes.into();
        for time in 0..times {
            if self.io.write_all(&bytes).await.is_err() {
                return time;
            }
        }
        times
    }

    /// Sends nothing more.
    pub(crate) async fn finish(&mut self) {
        // A server that has already closed is at its end too.
        let _ = self.io.shutdown().await;
    }

    /// Reads the next packet; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        loop {
            if !self.is_prefaced {
                self.skip_alert();
                self.is_prefaced = decode_preface(&mut self.input).expect("a preface");
            }
            if self.is_prefaced
                && let Some(packet) = decode(&mut self.input, &ANY).expect("an honest server")
            {
                return Some(packet);
            }
            // A server that closes while bytes are on their way resets the socket.
            if self.io.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                assert!(self.input.is_empty(), "half a packet: {:?}", self.input);
                return None;
            }
        }
    }

    /// Skips the alert that a client of TLS gets from a server without TLS, before the preface.
    fn skip_alert(&mut self) {
        const ALERT_BYTES: usize = 7;
        const ALERT: u8 = 0x15;
        if self.input.first() == Some(&ALERT) && self.input.len() >= ALERT_BYTES {
            self.input.advance(ALERT_BYTES);
        }
    }

    /// Returns the next packet that has come; `None` if the server, having run, sends no more.
    pub(crate) async fn now(&mut self) -> Option<Packet> {
        for _ in 0..TURNS {
            if let Some(packet) = self.next().now_or_never() {
                return packet;
            }
            tokio::task::yield_now().await;
        }
        None
    }

    /// Reads all packets until the end.
    pub(crate) async fn rest(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        while let Some(packet) = self.next().await {
            packets.push(packet);
        }
        packets
    }

    /// Reads to the end, and returns the reason in the last packet.
    pub(crate) async fn closed(&mut self) -> (CloseCode, String) {
        match self.rest().await.pop() {
            Some(Packet::Close { code, text }) => (code, text),
            last => panic!("a close packet, not {last:?}"),
        }
    }

    /// Reads until a call of the raw peer ends with an end packet.
    pub(crate) async fn ended(&mut self, id: u32) -> End {
        loop {
            match self.next().await.expect("an end packet") {
                Packet::End(end) if end.call.to_wire() == id => return end,
                _ => {}
            }
        }
    }

    /// Reads until a call of the raw peer is answered with a single message, and returns it.
    pub(crate) async fn replied(&mut self, id: u32) -> Vec<u8> {
        loop {
            match self.next().await.expect("a reply") {
                Packet::Reply(reply) if reply.call.to_wire() == id => {
                    return reply.chunk.expect("a message").bytes.to_vec();
                }
                Packet::End(end) if end.call.to_wire() == id => panic!("{end:?}"),
                _ => {}
            }
        }
    }

    /// Checks that the connection is open; returns all packets before the answer to a ping.
    pub(crate) async fn goes_on(&mut self) -> Vec<Packet> {
        self.pings += 1;
        let sent = self.send(ping(self.pings)).await;
        let mut before = Vec::new();
        loop {
            match self.next().await {
                Some(Packet::Pong(data)) if data == self.pings => return before,
                Some(packet) => before.push(packet),
                None => panic!("a pong, not the end after {before:?} ({sent:?})"),
            }
        }
    }
}
