//! The room. No member holds up another: one that does not keep up misses lines, and hears how many. One
//! that takes nothing at all is disconnected.

use tokio::sync::broadcast::{self, error::RecvError};
use wawo::{Context, Peer, Result, Serve, Status, layer::RequestBytesLayer};

use crate::chat::{Chat, ChatEventsClient, ChatServer, JoinReply, JoinRequest, Line, SayReply};

/// The lines that a member may be behind, at most, before it misses some.
const MAX_LINES_BEHIND: usize = 64;

/// The length of a line in bytes, at most, with its author; also of the request to join.
pub(crate) const MAX_LINE_BYTES: usize = 4 * 1024;

/// The service of an empty room.
pub(crate) fn room_service() -> impl Serve {
    let max_line = RequestBytesLayer::new(MAX_LINE_BYTES);
    let (lines, _) = broadcast::channel(MAX_LINES_BEHIND);
    ChatServer::new(Room { lines }).layer(max_line)
}

/// One queue for all members, of 64 lines of at most 4 KiB. It has a receiver for each member.
struct Room {
    lines: broadcast::Sender<Line>,
}

/// Marks a peer that is in the room.
struct Member;

impl Chat for Room {
    async fn join(&self, cx: Context, request: JoinRequest) -> Result<JoinReply> {
        let peer = cx.peer();
        if peer.extensions().insert(Member).is_some() {
            return Err(Status::already_exists("you are in the room already"));
        }
        println!("{} joins from {:?}", request.name, peer.address());
        // The task outlives this call, and ends with the connection of the member.
        tokio::spawn(deliver(peer, self.lines.subscribe()));
        Ok(JoinReply {
            members: self.lines.receiver_count() as u32,
        })
    }

    async fn say(&self, _cx: Context, line: Line) -> Result<SayReply> {
        // It never waits. It fails if there is nobody to hear the line.
        let listeners = self.lines.send(line).unwrap_or(0);
        Ok(SayReply {
            listeners: listeners as u32,
        })
    }
}

/// Sends all lines to a member until it leaves.
async fn deliver(peer: Peer, lines: broadcast::Receiver<Line>) {
    tokio::select! {
        status = send_all(&peer, lines) => peer.close(&format!("too slow: {status}")),
        // It may leave while nobody speaks.
        _ = peer.closed() => {}
    }
}

/// Sends lines until one fails. A call to a member that does not read waits until its connection has
/// room again, for at most `default_timeout`. That bounds the memory for each member.
async fn send_all(peer: &Peer, mut lines: broadcast::Receiver<Line>) -> Status {
    let screen = ChatEventsClient::new(peer);
    loop {
        let line = match lines.recv().await {
            Ok(line) => line,
            Err(RecvError::Lagged(missed)) => missed_lines(missed),
            Err(RecvError::Closed) => return Status::unavailable("the room is closed"),
        };
        if let Err(status) = screen.on_line(line).await {
            return status;
        }
    }
}

/// The line that takes the place of those that a member has missed.
fn missed_lines(count: u64) -> Line {
    Line {
        author: String::new(),
        text: format!("you missed {count} lines"),
    }
}
