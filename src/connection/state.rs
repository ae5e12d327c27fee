//! How far a connection has come.

use wawo_protocol::ConnectionError;

/// How far a connection has come. It only goes down this list, and may leave any of these out but the last.
#[derive(Debug, Clone)]
pub(crate) enum ConnectionState {
    /// The hello of the other side has not come.
    Handshaking,
    /// Both sides take calls.
    Open,
    /// One side takes no more calls.
    Draining,
    /// It is over.
    Closed(ConnectionError),
}
