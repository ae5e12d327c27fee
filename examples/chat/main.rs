//! A chat room: the server pushes lines to its clients, over the connections that they opened.
//!
//! `cargo run --example chat` lets some bots talk. To run it by hand, start `.. chat -- serve
//! tcp://127.0.0.1:4000`, then in other terminals `.. chat -- join tcp://127.0.0.1:4000 ada`, and
//! type.

use std::{env, sync::Mutex};

use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    sync::mpsc,
};
use wawo::{Context, Peer, Result, Server};

use crate::chat::{
    Chat, ChatClient, ChatEvents, ChatEventsClient, ChatEventsServer, ChatServer, JoinReply,
    JoinRequest, Line, SayReply,
};

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod chat {
    wawo::include_proto!("chat.v1");
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The room has a client stub for each member, because the server calls its clients.
#[derive(Default)]
struct Room {
    members: Mutex<Vec<(Peer, ChatEventsClient)>>,
}

impl Chat for Room {
    async fn join(&self, cx: Context, request: JoinRequest) -> Result<JoinReply> {
        println!("{} joins from {:?}", request.name, cx.peer().address());
        let peer = cx.peer();
        let mut members = self.members.lock().expect("no panics while locked");
        members.retain(|(peer, _)| !peer.is_closed());
        members.push((peer.clone(), ChatEventsClient::new(&peer)));
        Ok(JoinReply {
            members: members.len() as u32,
        })
    }

    async fn say(&self, _cx: Context, line: Line) -> Result<SayReply> {
        let members = self.members.lock().expect("no panics while locked").clone();
        let mut listeners = 0;
        for (_, member) in members {
            // A member that has left is not an error for the speaker.
            listeners += u32::from(member.on_line(line.clone()).await.is_ok());
        }
        Ok(SayReply { listeners })
    }
}

/// The service of a client: it passes lines on to be printed.
struct Screen(mpsc::Sender<Line>);

impl ChatEvents for Screen {
    async fn on_line(&self, _cx: Context, line: Line) {
        // If nobody receives lines any more, the client is about to end.
        let _ = self.0.send(line).await;
    }
}

async fn enter(address: &str, name: &str) -> Result<(ChatClient, mpsc::Receiver<Line>), Error> {
    let (lines, screen) = mpsc::channel(100);
    let events = ChatEventsServer::new(Screen(lines));
    let peer = Peer::builder(address).add_service(events).connect().await?;
    let room = ChatClient::new(&peer);
    let members = room.join(JoinRequest { name: name.into() }).await?.members;
    println!("{name} is in a room with {members} members");
    Ok((room, screen))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address] => {
            let room = ChatServer::new(Room::default());
            Ok(Server::builder().add_service(room).serve(address).await?)
        }
        ["join", address, name] => talk(address, name).await,
        _ => bots().await,
    }
}

async fn talk(address: &str, name: &str) -> Result<(), Error> {
    let (room, mut screen) = enter(address, name).await?;
    let mut typed = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            Some(line) = screen.recv() => println!("{}: {}", line.author, line.text),
            text = typed.next_line() => match text? {
                Some(text) => drop(room.say(Line { author: name.into(), text }).await?),
                None => return Ok(()),
            },
        }
    }
}

/// Ten bots say one line each, and every bot hears all lines.
async fn bots() -> Result<(), Error> {
    let room = ChatServer::new(Room::default());
    let server = Server::builder()
        .add_service(room)
        .bind("tcp://127.0.0.1:0")
        .await?;
    let address = server.addresses()[0].to_string();
    tokio::spawn(server.run());
    let mut bots = Vec::new();
    for number in 0..10 {
        bots.push(enter(&address, &format!("bot {number}")).await?);
    }
    for (number, (room, _)) in bots.iter().enumerate() {
        let line = Line {
            author: format!("bot {number}"),
            text: "hello".into(),
        };
        assert_eq!(room.say(line).await?.listeners, 10);
    }
    for (number, (_, screen)) in bots.iter_mut().enumerate() {
        for author in 0..10 {
            let line = screen.recv().await.ok_or("the screen is gone")?;
            assert_eq!(line.author, format!("bot {author}"));
        }
        println!("bot {number} heard 10 lines");
    }
    Ok(())
}
