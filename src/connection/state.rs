//! How far a connection has come.

use wawo_protocol::ConnectionError;

/// How far a connection has come. A state is only followed by states below it; all but the last may be
/// left out.
#[derive(Debug, Clone)]
pub(crate) enum ConnectionState {
    /// The hello of the other side has not come.
    Handshaking,
    /// Both sides take calls.
    Open,
    /// One side takes no more calls.
    Draining,
    /// The connection is over.
    Closed(ConnectionError),
}
