//! A transport of any type, and the facts that it knows about its other end.

use std::{
    any::Any,
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::facts::PeerFacts;

/// Anything that carries bytes both ways, in order: a socket, a pipe, a TLS stream.
///
/// It is implemented for every type that has these traits. [`PeerBuilder::connect_over`] and
/// [`Server::accept_over`] take a transport of your own.
///
/// [`PeerBuilder::connect_over`]: crate::PeerBuilder::connect_over
/// [`Server::accept_over`]: crate::Server::accept_over
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The facts about the other end that this end knows for sure, for authentication. tokio's
    /// `UnixStream` knows the user id of the process there, and [`TransportWithFacts`] has those that it
    /// was given. Other transports know none. A transport that wraps another loses the facts of the inner
    /// one: put a [`TransportWithFacts`] around it.
    fn facts(&self) -> PeerFacts;
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for T {
    fn facts(&self) -> PeerFacts {
        facts_of(self)
    }
}

/// The facts of a transport of any type.
fn facts_of(transport: &dyn Any) -> PeerFacts {
    if let Some(boxed) = transport.downcast_ref::<Box<dyn Transport>>() {
        return (**boxed).facts();
    }
    if let Some(with_facts) = transport.downcast_ref::<TransportWithFacts>() {
        return with_facts.facts.clone();
    }
    #[cfg(unix)]
    if let Some(socket) = transport.downcast_ref::<tokio::net::UnixStream>() {
        return PeerFacts::of_unix_socket(socket);
    }
    PeerFacts::default()
}

/// A transport with facts about its other end, such as a TLS stream with the certificates that it has
/// verified.
///
/// ```
/// use wawo::{Transport, transport::TransportWithFacts};
///
/// // The wrapper hides the socket, so the facts are passed on.
/// fn wrapped(socket: Box<dyn Transport>) -> TransportWithFacts {
///     let facts = socket.facts();
///     TransportWithFacts::new(tokio::io::BufStream::new(socket), facts)
/// }
/// ```
pub struct TransportWithFacts {
    // Its type is erased, so that `facts_of` finds the facts behind any type.
    inner: Box<dyn Transport>,
    facts: PeerFacts,
}

impl TransportWithFacts {
    /// A transport with these facts, which replace those of the transport itself.
    pub fn new(transport: impl Transport, facts: PeerFacts) -> Self {
        let inner = Box::new(transport);
        Self { inner, facts }
    }
}

impl fmt::Debug for TransportWithFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportWithFacts")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for TransportWithFacts {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for TransportWithFacts {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::{Transport, TransportWithFacts};
    use crate::transport::PeerFacts;

    #[cfg(unix)]
    #[tokio::test]
    async fn a_unix_socket_knows_the_user_at_its_other_end_also_in_boxes() {
        let own = rustix::process::geteuid().as_raw();
        let (here, there) = tokio::net::UnixStream::pair().unwrap();
        assert_eq!(there.facts().unix_user(), Some(own));
        let boxed: Box<dyn Transport> = Box::new(here);
        assert_eq!(boxed.facts().unix_user(), Some(own));
        let twice: Box<dyn Transport> = Box::new(boxed);
        assert_eq!(twice.facts().unix_user(), Some(own));
    }

    #[tokio::test]
    async fn a_transport_has_the_facts_that_it_was_given_and_carries_the_bytes_of_the_inner_one() {
        let (here, mut there) = duplex(64);
        assert_eq!(here.facts().unix_user(), None);
        let facts = PeerFacts::new().with_unix_user(7);
        let facts = facts.with_certificates(vec![Bytes::from_static(b"der")]);
        let here = TransportWithFacts::new(here, facts);
        assert_eq!(
            format!("{here:?}"),
            "TransportWithFacts { facts: PeerFacts { unix_user: Some(7), certificates: 1 }, .. }"
        );
        let mut here: Box<dyn Transport> = Box::new(here);
        let facts = here.facts();
        assert_eq!(facts.unix_user(), Some(7));
        assert_eq!(facts.certificates(), [Bytes::from_static(b"der")]);
        here.write_all(b"hello").await.unwrap();
        here.shutdown().await.unwrap();
        let mut heard = String::new();
        there.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "hello");
    }
}
