//! Members that keep up, and members that do not, in one room. The time is paused: it advances only
//! when every task waits, so a wait for a slow member would show.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    sync::broadcast,
    time::Instant,
};
use wawo::{Code, Peer, Server};

use crate::{
    Screen,
    chat::{ChatClient, ChatEventsServer, JoinRequest, Line},
    room::{MAX_LINE_BYTES, room_service},
};

/// A socket that is not read while `is_stopped`. It has to be written to be read again.
struct Socket {
    stream: DuplexStream,
    is_stopped: Arc<AtomicBool>,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.is_stopped.load(Ordering::SeqCst) {
            true => Poll::Pending,
            false => Pin::new(&mut self.stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A client in the room, as both sides see it.
struct Client {
    room: ChatClient,
    screen: broadcast::Receiver<Line>,
    is_stopped: Arc<AtomicBool>,
    at_server: Peer,
}

fn empty_room() -> Server {
    let server = Server::builder().add_service(room_service());
    server.build().unwrap()
}

async fn enter(server: &mut Server) -> Client {
    let (here, there) = duplex(16 * 1024);
    let at_server = server.accept_over(there).unwrap();
    let is_stopped = Arc::<AtomicBool>::default();
    let socket = Socket {
        stream: here,
        is_stopped: is_stopped.clone(),
    };
    let (lines, screen) = broadcast::channel(2 * MANY);
    let events = ChatEventsServer::new(Screen(lines));
    let peer = Peer::builder("").add_service(events);
    let room = ChatClient::new(&peer.connect_over(socket).await.unwrap());
    room.join(JoinRequest::default()).await.unwrap();
    Client {
        room,
        screen,
        is_stopped,
        at_server,
    }
}

/// More lines of this length than fit into 512 KiB of output and the queue of 64 lines.
const MANY: usize = 400;

fn line(number: usize) -> Line {
    Line {
        author: number.to_string(),
        text: "x".repeat(MAX_LINE_BYTES - 64),
    }
}

impl Client {
    /// Says many lines, and hears each of them at once.
    async fn say_many(&mut self) {
        let start = Instant::now();
        for number in 0..MANY {
            let reply = self.room.say(line(number)).await.unwrap();
            assert_eq!(reply.listeners, 2);
            let heard = self.screen.recv().await.unwrap();
            assert_eq!(heard.author, number.to_string());
        }
        assert_eq!(start.elapsed().as_millis(), 0, "somebody waited");
    }

    /// Returns the number of lines that it hears and that of the lines that it has missed.
    async fn hear_many(&mut self) -> (usize, usize) {
        let (mut heard, mut missed) = (0, 0);
        while heard + missed < MANY {
            let line = self.screen.recv().await.unwrap();
            match line.text.strip_prefix("you missed ") {
                Some(count) => missed += count.trim_end_matches(" lines").parse::<usize>().unwrap(),
                None => {
                    assert_eq!(line.author, (heard + missed).to_string());
                    heard += 1;
                }
            }
        }
        (heard, missed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_read_holds_up_nobody_and_hears_how_much_it_missed() {
    let mut server = empty_room();
    let mut slow = enter(&mut server).await;
    let mut quick = enter(&mut server).await;
    slow.is_stopped.store(true, Ordering::SeqCst);
    quick.say_many().await;
    slow.is_stopped.store(false, Ordering::SeqCst);
    // A call makes its connection read again.
    let again = slow.room.join(JoinRequest::default()).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    let (heard, missed) = slow.hear_many().await;
    assert!(heard > 64 && missed > 64, "{heard} heard, {missed} missed");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_never_reads_is_disconnected_after_ten_seconds() {
    let mut server = empty_room();
    let slow = enter(&mut server).await;
    let mut quick = enter(&mut server).await;
    slow.is_stopped.store(true, Ordering::SeqCst);
    let start = Instant::now();
    quick.say_many().await;
    slow.at_server.closed().await;
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(quick.room.say(line(0)).await.unwrap().listeners, 1);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_left_is_no_listener() {
    let mut server = empty_room();
    let leaving = enter(&mut server).await;
    let staying = enter(&mut server).await;
    assert_eq!(staying.room.say(line(0)).await.unwrap().listeners, 2);
    leaving.at_server.close("bye");
    leaving.at_server.closed().await;
    assert_eq!(staying.room.say(line(1)).await.unwrap().listeners, 1);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_too_long_is_refused() {
    let mut server = empty_room();
    let client = enter(&mut server).await;
    let mut long = line(0);
    long.text.push_str(&"x".repeat(64));
    let status = client.room.say(long).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}
