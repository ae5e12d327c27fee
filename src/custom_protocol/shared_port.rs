//! A custom protocol on a port that it shares with others.

use std::{fmt, time::Duration};

use crate::{
    custom_protocol::{CustomProtocol, PacketCodec},
    server::{Arrival, Protocol, Recognition},
    transport::{BoxFuture, Transport},
};

/// A protocol of your own, which a [`PacketCodec`] reads and writes, that shares the ports of a server
/// with wawo's own. Give it to [`ServerBuilder::protocol`](crate::ServerBuilder::protocol). It carries
/// the same calls as [`CustomProtocol`], and has the same limits.
///
/// ```no_run
/// # async fn serve(
/// #     chat: impl wawo::Serve,
/// #     legacy: impl wawo::PacketCodec + Clone + Sync,
/// # ) -> Result<(), wawo::ServeError> {
/// use wawo::Recognition;
///
/// let legacy = wawo::PacketProtocol::new("legacy", legacy, |start| match start[0] {
///     0x7e => Recognition::Yes,
///     _ => Recognition::No,
/// });
/// let server = wawo::Server::builder().add_service(chat).protocol(legacy);
/// server.serve("tcp://127.0.0.1:4000").await
/// # }
/// ```
pub struct PacketProtocol<C, R> {
    name: String,
    codec: C,
    recognise: R,
    max_packet_bytes: Option<usize>,
    call_timeout: Option<Option<Duration>>,
    max_call_number: Option<u32>,
}

impl<C, R> PacketProtocol<C, R>
where
    C: PacketCodec + Clone + Sync,
    R: Fn(&[u8]) -> Recognition + Send + Sync + 'static,
{
    /// A protocol that a function recognises by the first bytes of a socket, as [`Protocol::recognise`]
    /// does. Each socket gets a clone of the codec.
    pub fn new(name: impl Into<String>, codec: C, recognise: R) -> Self {
        Self {
            name: name.into(),
            codec,
            recognise,
            max_packet_bytes: None,
            call_timeout: None,
            max_call_number: None,
        }
    }

    /// See [`CustomProtocol::max_packet_bytes`].
    #[must_use = "returns the protocol with the setting"]
    pub fn max_packet_bytes(mut self, max: usize) -> Self {
        self.max_packet_bytes = Some(max);
        self
    }

    /// See [`CustomProtocol::call_timeout`].
    #[must_use = "returns the protocol with the setting"]
    pub fn call_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.call_timeout = Some(timeout);
        self
    }

    /// See [`CustomProtocol::max_call_number`].
    #[must_use = "returns the protocol with the setting"]
    pub fn max_call_number(mut self, max: u32) -> Self {
        self.max_call_number = Some(max);
        self
    }

    fn over<T: Transport>(&self, transport: T) -> CustomProtocol<T, C> {
        let mut over = CustomProtocol::accepting(transport, self.codec.clone());
        if let Some(max) = self.max_packet_bytes {
            over = over.max_packet_bytes(max);
        }
        if let Some(timeout) = self.call_timeout {
            over = over.call_timeout(timeout);
        }
        if let Some(max) = self.max_call_number {
            over = over.max_call_number(max);
        }
        over
    }
}

impl<C, R> Protocol for PacketProtocol<C, R>
where
    C: PacketCodec + Clone + Sync,
    R: Fn(&[u8]) -> Recognition + Send + Sync + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn recognise(&self, start: &[u8]) -> Recognition {
        (self.recognise)(start)
    }

    fn serve(&self, transport: Box<dyn Transport>, arrival: Arrival) -> BoxFuture<'static, ()> {
        arrival.serve_native(self.over(transport))
    }
}

impl<C, R> fmt::Debug for PacketProtocol<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketProtocol")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
