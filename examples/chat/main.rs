//! A chat room: the server pushes lines to its clients, over the connections that they opened.
//!
//! `cargo run --example chat` lets some bots talk. To run it by hand, start `.. chat -- serve
//! tcp://127.0.0.1:4000`, then in other terminals `.. chat -- join tcp://127.0.0.1:4000 ada`, and
//! type.

mod room;
#[cfg(test)]
mod tests;

use std::env;

use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    sync::broadcast::{self, error::RecvError},
};
use wawo::{Context, Peer, Server};

use crate::{
    chat::{ChatClient, ChatEvents, ChatEventsServer, JoinRequest, Line},
    room::room_service,
};

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod chat {
    wawo::include_proto!("chat.v1");
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The service of a client: it passes lines on to be printed.
struct Screen(broadcast::Sender<Line>);

impl ChatEvents for Screen {
    /// It does not wait: handlers that wait run at the same time, so lines could pass each other.
    async fn on_line(&self, _cx: Context, line: Line) {
        // If nobody receives lines any more, the client is about to end.
        let _ = self.0.send(line);
    }
}

async fn enter(address: &str, name: &str) -> Result<(Peer, broadcast::Receiver<Line>), Error> {
    let (lines, screen) = broadcast::channel(100);
    let events = ChatEventsServer::new(Screen(lines));
    let peer = Peer::builder(address).add_service(events).connect().await?;
    let request = JoinRequest { name: name.into() };
    let members = ChatClient::new(&peer).join(request).await?.members;
    println!("{name} is in a room with {members} members");
    Ok((peer, screen))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address] => {
            let server = Server::builder().add_service(room_service());
            Ok(server.serve(address).await?)
        }
        ["join", address, name] => talk(address, name).await,
        _ => bots().await,
    }
}

async fn talk(address: &str, name: &str) -> Result<(), Error> {
    let (peer, mut screen) = enter(address, name).await?;
    let room = ChatClient::new(&peer);
    let mut typed = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            line = screen.recv() => match line {
                Ok(line) => println!("{}: {}", line.author, line.text),
                Err(RecvError::Lagged(missed)) => println!("[{missed} lines were too fast]"),
                // It ends with the connection, whose reason tells why.
                Err(RecvError::Closed) => return Err(peer.closed().await.into()),
            },
            text = typed.next_line() => match text? {
                Some(text) => if let Err(status) = room.say(Line { author: name.into(), text }).await {
                    println!("[not said: {}]", status.message());
                },
                None => return Ok(()),
            },
        }
    }
}

/// Ten bots say one line each, and every bot hears all lines.
async fn bots() -> Result<(), Error> {
    let server = Server::builder().add_service(room_service());
    let server = server.bind("tcp://127.0.0.1:0").await?;
    let address = server.addresses()[0].to_string();
    tokio::spawn(server.run());
    let mut bots = Vec::new();
    for number in 0..10 {
        bots.push(enter(&address, &format!("bot {number}")).await?);
    }
    for (number, (peer, _)) in bots.iter().enumerate() {
        let line = Line {
            author: format!("bot {number}"),
            text: "hello".into(),
        };
        assert_eq!(ChatClient::new(peer).say(line).await?.listeners, 10);
    }
    for (number, (_, screen)) in bots.iter_mut().enumerate() {
        for author in 0..10 {
            let line = screen.recv().await?;
            assert_eq!(line.author, format!("bot {author}"));
        }
        println!("bot {number} heard 10 lines");
    }
    Ok(())
}
