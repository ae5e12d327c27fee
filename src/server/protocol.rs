//! Other protocols on the ports of a server.

use std::{fmt, sync::Arc};

use crate::{
    server::arrival::Arrival,
    transport::{BoxFuture, Transport},
};

/// Another protocol that shares the ports of a server with wawo's own, such as HTTP, or TLS with one of
/// them inside. See [`ServerBuilder::protocol`](crate::ServerBuilder::protocol).
///
/// ```text
///  listener ──► socket ──► handshake: recognise(first bytes)
///                             ├─ wawo's preface ──► its hello ──► driver
///                             ├─ Yes ─────────────► serve(transport, arrival)
///                             │                       ├─ arrival.gateway()        calls, by guests
///                             │                       ├─ arrival.serve_inner(t)   recognised again, once
///                             │                       └─ arrival.serve_native(t)  wawo's own, inside of it
///                             └─ no one says Yes ─► closed, and the error says what came
/// ```
///
/// A server with other protocols writes nothing to a new socket before the other side has sent its first
/// bytes. A protocol whose server writes first needs a port of its own.
///
/// # Examples
///
/// After the line `text ada`, each line such as `chat.v1.Chat/Join request` is a call of that user, with
/// the rest of the line as the encoded request.
///
/// ```
/// use std::io;
/// use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, split};
/// use wawo::{
///     Arrival, Body, CloseCode, Code, ConnectionError, Gateway, Guest, OrStatus, Protocol, Recognition,
///     Request, Status, Transport, transport::BoxFuture,
/// };
///
/// struct Text;
///
/// impl Protocol for Text {
///     fn name(&self) -> &str {
///         "text"
///     }
///
///     fn recognise(&self, start: &[u8]) -> Recognition {
///         match b"text " {
///             hail if start.starts_with(hail) => Recognition::Yes,
///             hail if hail.starts_with(start) => Recognition::Perhaps,
///             _ => Recognition::No,
///         }
///     }
///
///     fn serve(&self, transport: Box<dyn Transport>, arrival: Arrival) -> BoxFuture<'static, ()> {
///         Box::pin(async move {
///             // An error of the socket ends the connection.
///             let _ = talk(transport, arrival).await;
///         })
///     }
/// }
///
/// async fn talk(transport: Box<dyn Transport>, arrival: Arrival) -> io::Result<()> {
///     let (reader, mut writer) = split(transport);
///     let mut lines = BufReader::new(reader).lines();
///     let hail = lines.next_line().await?.unwrap_or_default();
///     let gateway = arrival.gateway();
///     let guest = gateway.guest().address(arrival.address().clone());
///     let guest = guest.claimed_name(hail.trim_start_matches("text ")).build();
///     let guest = guest.map_err(io::Error::other)?;
///     loop {
///         let line = tokio::select! {
///             line = lines.next_line() => line?,
///             () = guest.draining() => return Ok(()),
///         };
///         let Some(line) = line else { break };
///         let reply = match call(&gateway, &guest, &line).await {
///             Ok(reply) => reply,
///             Err(status) => format!("{status}").into(),
///         };
///         writer.write_all(&reply).await?;
///         writer.write_all(b"\n").await?;
///     }
///     // Events then report that the other side has closed the connection.
///     guest.end(&ConnectionError::ClosedByPeer { code: CloseCode::Normal, text: String::new() });
///     Ok(())
/// }
///
/// async fn call(gateway: &Gateway, guest: &Guest, line: &str) -> wawo::Result<bytes::Bytes> {
///     let (path, request) = line.split_once(' ').unwrap_or((line, ""));
///     let (service, method) = path.split_once('/').or_status(Code::InvalidArgument, "no method")?;
///     let service = gateway.service(service).or_status(Code::Unimplemented, "no such service")?;
///     let method = service.method_by_name(method).or_status(Code::Unimplemented, "no such method")?;
///     let request = bytes::Bytes::copy_from_slice(request.as_bytes());
///     let response = guest.call(Request::new(method, Body::One(request.into()))).await?;
///     match response.into_parts() {
///         (_, Body::One(reply)) => Ok(reply.into_bytes()),
///         (_, Body::Many(_)) => Err(Status::unimplemented("streams are not passed on")),
///     }
/// }
///
/// let server = wawo::Server::builder().protocol(Text);
/// ```
pub trait Protocol: Send + Sync + 'static {
    /// The name of the protocol, for logs and for [`Peer`](crate::Peer)s that come by it.
    fn name(&self) -> &str;

    /// The names of the protocol inside of TLS (ALPN), such as `h2` and `http/1.1`, which the server then offers.
    /// Default: none.
    fn alpn(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// Whether a socket that begins with these bytes speaks the protocol. There is at least one byte, and
    /// at most 16 KiB. After [`Recognition::Perhaps`] it is asked again with more of them.
    ///
    /// It must not block. A panic ends only the one socket.
    fn recognise(&self, start: &[u8]) -> Recognition;

    /// Serves a socket that was recognised, until the future ends. The bytes that were read to recognise
    /// it are read from `transport` again.
    ///
    /// The future runs as a task of the server: the socket counts as a connection until it ends. It is
    /// dropped when the grace of a drain is over, when the socket has to make room for another, or with
    /// the server. It should end by itself soon after [`Gateway::draining`]. A panic ends only the one
    /// socket.
    ///
    /// [`Gateway::draining`]: crate::Gateway::draining
    fn serve(&self, transport: Box<dyn Transport>, arrival: Arrival) -> BoxFuture<'static, ()>;
}

/// Whether a socket speaks a protocol, as far as its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "all that can be said of bytes of which more may come"
)]
pub enum Recognition {
    /// It speaks the protocol.
    Yes,
    /// The bytes are too few to decide. Protocols that were added later are not asked meanwhile.
    Perhaps,
    /// It does not speak the protocol, whatever follows.
    No,
}

/// The other protocols of a server, in the order in which they were added.
#[derive(Clone, Default)]
pub(crate) struct Protocols(Vec<Arc<dyn Protocol>>);

impl Protocols {
    pub(crate) fn add(&mut self, protocol: impl Protocol) {
        self.0.push(Arc::new(protocol));
    }

    /// The protocols, to be shared by all sockets; `None` if there are none.
    pub(crate) fn into_shared(self) -> Option<Arc<Self>> {
        (!self.0.is_empty()).then(|| Arc::new(self))
    }

    /// The names of all protocols inside of TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn alpn(&self) -> Vec<Vec<u8>> {
        self.0.iter().flat_map(|protocol| protocol.alpn()).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Protocol>> {
        self.0.iter()
    }
}

impl fmt::Debug for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|protocol| protocol.name());
        f.debug_list().entries(names).finish()
    }
}
