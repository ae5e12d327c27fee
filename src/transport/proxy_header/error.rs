//! The errors of headers.

use std::{io, time::Duration};

use thiserror::Error;

/// The reason why the beginning of a connection is no header of the PROXY protocol.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// The first bytes are those of no header.
    #[error("the connection begins with `{begins}`, which is no PROXY header")]
    Missing {
        /// The first bytes, at most 16 of them, escaped.
        begins: String,
    },
    /// Version 1: the word behind `PROXY` is no protocol.
    #[error("the header names the protocol `{protocol}`; it must be TCP4, TCP6 or UNKNOWN")]
    Protocol {
        /// The word, at most 16 bytes of it, escaped.
        protocol: String,
    },
    /// Version 1: a field of the line is wrong or missing.
    #[error("the {field} of the header is `{value}`")]
    Field {
        /// The name of the field, such as `source address`.
        field: &'static str,
        /// Its text, at most 48 bytes of it, escaped.
        value: String,
    },
    /// Version 1: the line has more fields than it must have.
    #[error("the header has more than two addresses and two ports")]
    MoreFields,
    /// Version 1: the line is too long.
    #[error("the header has no line end within 107 bytes")]
    NoLineEnd,
    /// Version 2: the number of the version is another.
    #[error("the header says version {version}; it must be 2")]
    Version {
        /// The number.
        version: u8,
    },
    /// Version 2: the command is neither LOCAL nor PROXY.
    #[error("the header has the command {command}; it must be 0 or 1")]
    Command {
        /// The number.
        command: u8,
    },
    /// Version 2: the address family or the transport protocol has no meaning.
    #[error("the header has the address family and protocol {byte:#04x}, which have no meaning")]
    Family {
        /// The byte of both.
        byte: u8,
    },
    /// Version 2: the addresses do not fit into the length.
    #[error("the header has {length} bytes for addresses that take {addresses}")]
    Short {
        /// The length that the header states.
        length: usize,
        /// The bytes that addresses of its family take.
        addresses: usize,
    },
    /// Version 2: the header is too long.
    #[error("the header has {bytes} bytes; at most 4096 are read")]
    Long {
        /// The length that the header states, with the 16 bytes before that.
        bytes: usize,
    },
    /// The connection ended within the header.
    #[error("the connection ended after {bytes} bytes of a PROXY header")]
    Ended {
        /// The bytes that have come.
        bytes: usize,
    },
    /// Reading failed.
    #[error("the connection was lost after {bytes} bytes of a PROXY header: {kind}")]
    Lost {
        /// The bytes that have come.
        bytes: usize,
        /// The kind of the error.
        kind: io::ErrorKind,
    },
    /// The header was not whole in time.
    #[error("no whole PROXY header within {timeout:?} (handshake_timeout)")]
    Elapsed {
        /// The time for it, from accept on.
        timeout: Duration,
    },
}

/// The error of bytes that are no header.
pub(super) fn missing(start: &[u8]) -> ProxyHeaderError {
    let begins = excerpt(start, 16);
    ProxyHeaderError::Missing { begins }
}

/// At most `most` bytes of a text that came from elsewhere, for an error.
pub(super) fn excerpt(bytes: &[u8], most: usize) -> String {
    bytes[..bytes.len().min(most)].escape_ascii().to_string()
}
