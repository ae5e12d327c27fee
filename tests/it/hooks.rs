//! Functions of a program that a server runs when its peers come and go.

use std::sync::{Arc, Mutex, atomic::Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use wawo::{
    ConnectionError, Context, Peer, PeerEvent, PeerId, Result, Server, ServerBuilder, Streaming,
};

use crate::support::{
    Echo, EchoClient, EchoServer, Message, Parrot, RepeatRequest, Seen, client_of, message,
};

/// The peers that came and went, in order.
#[derive(Debug, Clone, Default)]
struct Book(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Came(PeerId),
    Went(PeerId),
}

impl Book {
    fn kept_by(&self, server: ServerBuilder) -> ServerBuilder {
        let (came, went) = (self.clone(), self.clone());
        server
            .on_connect(move |peer| came.add(Entry::Came(peer.id())))
            .on_disconnect(move |peer, _| went.add(Entry::Went(peer.id())))
    }

    fn add(&self, entry: Entry) {
        self.0.lock().unwrap().push(entry);
    }

    fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap().clone()
    }
}

fn parrots() -> ServerBuilder {
    Server::builder().add_service(EchoServer::new(Parrot::default()))
}

/// The state that a hook sets.
struct Room(&'static str);

/// Replies with the room of its caller.
#[derive(Clone)]
struct Doorman;

impl Echo for Doorman {
    async fn say(&self, cx: Context, _: Message) -> Result<Message> {
        let room = cx.peer().extensions().get::<Room>();
        Ok(message(room.map_or("none", |room| room.0)))
    }

    async fn act(&self, _: Context, _: Message) -> Result<Message> {
        Ok(message(""))
    }

    async fn note(&self, _: Context, _: Message) {}

    async fn repeat(&self, _: Context, _: RepeatRequest) -> Result<Streaming<Message>> {
        Ok(Streaming::empty())
    }

    async fn join(&self, _: Context, _: Streaming<Message>) -> Result<Message> {
        Ok(message(""))
    }

    async fn talk(&self, _: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(requests)
    }
}

#[tokio::test]
async fn a_handler_finds_the_state_that_was_set_when_its_caller_came() {
    let server = Server::builder().add_service(EchoServer::new(Doorman));
    let server = server.on_connect(|peer: &Peer| {
        peer.extensions().insert(Room("lobby"));
    });
    let mut server = server.build().unwrap();
    let echo = EchoClient::new(&client_of(&mut server).await);
    assert_eq!(echo.say(message("")).await.unwrap().data, "lobby");
}

#[tokio::test]
async fn each_peer_that_came_goes_once_for_one_reason() {
    let (book, reasons) = (Book::default(), Arc::new(Mutex::new(Vec::new())));
    let kept = reasons.clone();
    let server = book.kept_by(parrots()).on_disconnect(move |peer, error| {
        // The peer can still be asked for all that it was.
        assert!(peer.is_closed() && peer.extensions().get::<Room>().is_none());
        kept.lock().unwrap().push(error.clone());
    });
    let mut server = server.build().unwrap();
    let mut events = server.handle().events();
    let client = client_of(&mut server).await;
    EchoClient::new(&client).say(message("")).await.unwrap();
    client.close("bye");
    let id = loop {
        match events.next().await.unwrap() {
            PeerEvent::Disconnected(peer, _) => break peer.id(),
            PeerEvent::Connected(peer) => {
                // The event follows the hook.
                assert_eq!(book.entries(), [Entry::Came(peer.id())]);
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(book.entries(), [Entry::Came(id), Entry::Went(id)]);
    drop(server);
    assert_eq!(book.entries().len(), 2);
    let reasons = reasons.lock().unwrap();
    let [ConnectionError::ClosedByPeer { text, .. }] = &reasons[..] else {
        panic!("{reasons:?}");
    };
    assert_eq!(text, "bye");
}

#[tokio::test]
async fn a_guest_comes_and_goes_too() {
    let book = Book::default();
    let server = book.kept_by(parrots()).build().unwrap();
    let gateway = server.handle().gateway("pigeons");
    let guest = gateway.guest().build().unwrap();
    let id = guest.peer().id();
    assert_eq!(book.entries(), [Entry::Came(id)]);
    guest.close("enough");
    assert_eq!(book.entries(), [Entry::Came(id), Entry::Went(id)]);
    drop(guest);
    assert_eq!(book.entries().len(), 2);
}

#[tokio::test]
async fn peers_go_with_their_server() {
    let book = Book::default();
    let mut server = book.kept_by(parrots()).build().unwrap();
    let clients = [client_of(&mut server).await, client_of(&mut server).await];
    drop(server);
    for client in &clients {
        client.closed().await;
    }
    let entries = book.entries();
    let came = entries.iter().filter_map(|entry| match entry {
        Entry::Came(id) => Some(*id),
        Entry::Went(_) => None,
    });
    let came: Vec<_> = came.collect();
    assert_eq!((came.len(), entries.len()), (2, 4));
    let goes = |id: &PeerId| entries.contains(&Entry::Went(*id));
    assert!(came.iter().all(goes), "{entries:?}");
}

#[tokio::test]
async fn one_without_a_handshake_neither_comes_nor_goes() {
    let book = Book::default();
    let server = book.kept_by(parrots()).build().unwrap();
    let handle = server.handle();
    let mut events = handle.events();
    let (mut here, there) = duplex(1024);
    handle.accept_from(there, "mem://there").unwrap();
    here.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let event = events.next().await.unwrap();
    assert!(matches!(event, PeerEvent::NotConnected(..)), "{event:?}");
    let (here, there) = duplex(1024);
    let peer = handle.accept_over(there).unwrap();
    drop(here);
    peer.closed().await;
    assert_eq!(book.entries(), []);
}

/// A preface, a hello with the minimum of all limits, and calls of `Echo/Act` right behind them.
fn hello_and_calls() -> Vec<u8> {
    let mut bytes = b"WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
    for call in [1, 3, 5] {
        bytes.extend([0, 0, 0, 8, 6, 1, 0, 0, 0, 0, 0, call]);
        bytes.extend([0, 0, 0, 7, 0, 0, 0, 2]);
    }
    bytes
}

#[tokio::test]
async fn no_call_is_served_of_a_peer_that_is_closed_when_it_comes() {
    type Hook = fn(&Peer);
    let hooks: [(Hook, &str); 3] = [
        (|_| {}, ""),
        (|peer| peer.close("not today"), "not today"),
        (|_| panic!("as asked"), "a fault of the server"),
    ];
    for (hook, reason) in hooks {
        let parrot = Parrot::default();
        let server = Server::builder().add_service(EchoServer::new(parrot.clone()));
        let server = server.on_connect(hook).build().unwrap();
        let (mut here, there) = duplex(1024);
        here.write_all(&hello_and_calls()).await.unwrap();
        server.handle().accept_from(there, "mem://there").unwrap();
        if reason.is_empty() {
            let all = |seen: &Seen| seen.begun.load(Ordering::SeqCst) == 3;
            parrot.0.until(all).await;
            continue;
        }
        let mut end = Vec::new();
        here.read_to_end(&mut end).await.unwrap();
        assert!(end.ends_with(reason.as_bytes()), "{}", end.escape_ascii());
        assert_eq!(parrot.0.begun.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_panic_of_a_hook_closes_the_peer_and_it_still_goes_once() {
    let book = Book::default();
    let server = parrots().on_connect(|_| panic!("as asked"));
    let server = book.kept_by(server).on_disconnect(|_, _| panic!("again"));
    let mut server = server.build().unwrap();
    let (here, there) = duplex(64 * 1024);
    let peer = server.accept_over(there).unwrap();
    // The close packet may come right behind the hello.
    let error = match Peer::builder("").connect_over(here).await {
        Ok(client) => client.closed().await.to_string(),
        Err(error) => error.to_string(),
    };
    assert!(error.contains("a fault of the server"), "{error}");
    peer.closed().await;
    let id = peer.id();
    assert_eq!(book.entries(), [Entry::Came(id), Entry::Went(id)]);
    // Others are served.
    let guest = server.handle().gateway("pigeons").guest().build();
    assert!(guest.unwrap().peer().is_closed());
}
