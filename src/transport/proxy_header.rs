//! The header with which a proxy begins a connection, to say from which address its client came: versions
//! 1 and 2 of the PROXY protocol.
//!
//! ```text
//!  bytes ──► read ─┬─► Needs(at least this many more)
//!                  ├─► Whole(the client's address, if the proxy gave it)
//!                  └─► ProxyHeaderError, at the first byte that is wrong
//! ```
//!
//! It is a function of the bytes so far, without sockets and clock. `Needs` never exceeds the bytes that
//! the header still has. So a reader that asks for no more than that takes no byte of the protocol behind
//! the header, and that protocol needs no bytes given back. The module imports nothing of the crate, so
//! that the fuzz target can compile it alone.
//!
//! The sections in comments are those of "The PROXY protocol, Versions 1 & 2" (`doc/proxy-protocol.txt` of
//! HAProxy, <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).

#[cfg(test)]
pub(crate) mod any_bytes;
mod binary;
mod error;
mod header;
#[cfg(test)]
mod tests;
mod text;

pub use self::error::ProxyHeaderError;
use self::header::MIN_HEADER_BYTES;
pub(crate) use self::header::{HeaderProgress, ProxyHeader};

/// The first byte of version 1, `P`. Version 2 begins with another.
const TEXT_FIRST: u8 = text::BEGIN[0];

/// Reads the first bytes of a connection, as many as have come. Bytes behind the header are ignored.
///
/// # Errors
///
/// If no header begins with them.
pub(crate) fn read(start: &[u8]) -> Result<HeaderProgress, ProxyHeaderError> {
    match start.first() {
        None => Ok(HeaderProgress::Needs(MIN_HEADER_BYTES)),
        Some(&TEXT_FIRST) => text::read(start),
        Some(_) => binary::read(start),
    }
}
