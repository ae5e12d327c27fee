//! An add-on crate for wawo that stands on its public API alone: a model for authors of such crates, and
//! the proof that the API is enough.
//!
//! It carries calls by a made-up protocol of lines, in both roles, and has two layers that know calls by
//! the names of their methods and by their peers:
//!
//! ```text
//!  stub ─► LineClient ═══ lines, over any Transport ═══ LineProtocol ─► Guest ─► layers ─► services
//!          a `Start`                                    a `Protocol`,     │      Usage, Access
//!                                                       on wawo's ports   └ a Peer with a name, an
//!                                                                           address and a User
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `line.rs` | the lines: text to values and back, without I/O |
//! | `socket.rs` | a transport as two halves that carry lines |
//! | `protocol.rs` | recognises the sockets that speak lines, and makes a guest of each |
//! | `session.rs` | the calls of a guest, until its connection is over |
//! | `client.rs` | starts calls: deadlines, errors, streams of replies |
//! | `connection.rs` | the lines of a client on their way, and its calls in flight |
//! | `usage.rs` | a layer that measures |
//! | `access.rs` | a layer that authorises |
//!
//! # The protocol
//!
//! ```text
//! i am ada                                  the first line: who calls
//! call 7 chat.v1.Chat/Join 9000 0a03616461  number, method, milliseconds left or `-`, message in hexadecimal
//! send chat.v1.Chat/Leave 0a03616461        a one-way message
//! cancel 7                                  the caller no longer wants the reply
//!
//! reply 7 0801                              the one reply
//! stream 8                                  a stream of replies begins
//! item 8 0801                               one of them
//! end 8                                     these were all
//! fail 7 5 no such room                     the call, or its stream, ended with this code and text
//! refuse 7 14 the server drains             as `fail`, and the call was not served
//! bye the server drains                     the server ends the connection
//! ```
//!
//! Lines carry neither metadata nor details nor streams of requests. A line has at most 64 KiB.

mod access;
mod client;
mod connection;
mod line;
mod protocol;
mod session;
mod socket;
mod usage;

pub use crate::{
    access::Access,
    client::{LineClient, MAX_WAITING_ANSWERS},
    line::MAX_LINE_BYTES,
    protocol::{LineProtocol, User},
    usage::{MethodUsage, Usage},
};
