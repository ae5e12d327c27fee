//! A server, as far as handshakes go.

use std::time::Duration;

/// A server that handles one handshake after the other.
#[derive(Debug, Default)]
pub(crate) struct Server {
    /// When the last handshake that waits will be done.
    busy_until: Duration,
}

/// How a client got on that asked for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// There is no room.
    Full,
    /// Its handshake will be done then.
    Done(Duration),
}

impl Server {
    /// A client asks for a connection. At most `room` clients wait.
    pub(crate) fn enter(&mut self, now: Duration, handshake: Duration, room: u32) -> Entry {
        let begin = self.busy_until.max(now);
        if begin - now >= handshake * room {
            return Entry::Full;
        }
        self.busy_until = begin + handshake;
        Entry::Done(self.busy_until)
    }
}
