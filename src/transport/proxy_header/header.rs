//! A header, and how much of it has come.

use std::net::SocketAddr;

/// The bytes of the shortest header, `PROXY UNKNOWN` with its line end. One of version 2 has at least 16.
pub(super) const MIN_HEADER_BYTES: usize = 15;

/// The longest header that is read, in bytes. The specification wants headers to fit into 536 bytes, but
/// HAProxy can be told to add a client's certificate, which takes 1 to 2 KiB.
pub(crate) const MAX_HEADER_BYTES: usize = 4096;

/// The first bytes of a connection, read as a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderProgress {
    /// The header has at least this many more bytes.
    Needs(usize),
    Whole(ProxyHeader),
}

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProxyHeader {
    /// The address that the client of the proxy has. `None` if the connection is the proxy's own, as for
    /// health checks, or if the client came by another protocol than TCP.
    pub(crate) client: Option<SocketAddr>,
    /// The number of bytes of the header.
    pub(crate) length: usize,
}
