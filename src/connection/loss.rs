//! The errors of transports that end or fail.

use std::{io, sync::Arc};

use wawo_protocol::ConnectionError;

/// The error of a transport that failed.
pub(super) fn lost(error: io::Error) -> ConnectionError {
    ConnectionError::Lost(Arc::new(error))
}

/// The error of a transport that failed before the hello of the other side. If that side has gone, it
/// perhaps did not understand this side's hello, and the error says so.
#[cold]
pub(super) fn lost_early(error: io::Error) -> ConnectionError {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let has_gone = matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
    );
    if !has_gone {
        return lost(error);
    }
    let text =
        format!("{error}, before the hello of the peer, which may speak another protocol, or TLS");
    lost(io::Error::new(error.kind(), text))
}

/// The error of a read at the end of the transport.
#[cold]
pub(super) fn ended() -> io::Error {
    let text = "it ended without a close packet";
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}
