//! Authentication in the handshake: who is let in, who is refused and told why, and that nothing of a peer is
//! served before.

mod undecided;

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::io::{DuplexStream, duplex};
use wawo::{
    Config, ConnectError, Context, Credentials, Identity, Peer, PeerBuilder, PeerEvent, Presented,
    Refusal, Result, Server, ServerBuilder, Status, Streaming,
};

use crate::{
    logged::Log,
    support::{Echo, EchoClient, EchoServer, Message, RepeatRequest, message},
};

/// The identity of a caller: the name in its token.
#[derive(Debug, Clone, PartialEq, Eq)]
struct User(String);

/// Lets in everyone whose token is `user NAME`.
async fn by_token(presented: Presented) -> Result<User, Refusal> {
    let token = presented
        .token()
        .ok_or_else(|| Refusal::new("a token is required"))?;
    match token.strip_prefix("user ") {
        Some(name) => Ok(User(name.to_owned())),
        None => Err(Refusal::new("the token is not known")),
    }
}

/// Replies with the name of its caller.
#[derive(Clone)]
struct WhoAmI;

impl Echo for WhoAmI {
    async fn say(&self, cx: Context, _: Message) -> Result<Message> {
        let user = cx.identity::<User>();
        let of_peer = cx.peer().identity::<User>();
        assert_eq!(user, of_peer.as_deref());
        Ok(message(user.map_or_else(
            || "nobody".to_owned(),
            |user| user.0.clone(),
        )))
    }

    async fn act(&self, cx: Context, _: Message) -> Result<Message> {
        EchoClient::new(&cx.peer()).say(message("")).await
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

fn who_am_i() -> ServerBuilder {
    Server::builder().add_service(EchoServer::new(WhoAmI))
}

fn with_token(token: &str) -> PeerBuilder {
    Peer::builder("").credentials(Credentials::token(token))
}

/// Connects a client to a server as if by a listener.
async fn connect(server: &Server, client: PeerBuilder) -> Result<Peer, ConnectError> {
    client.connect_over(socket(server)).await
}

fn socket(server: &Server) -> DuplexStream {
    let (here, there) = duplex(1024 * 1024);
    server.handle().accept_from(there, "mem://there").unwrap();
    here
}

/// The preface and the hello of a side with this token.
fn hello(token: &str) -> Vec<u8> {
    let mut entry = vec![0, 10];
    entry.extend((token.len() as u32).to_be_bytes());
    entry.extend(token.as_bytes());
    let mut bytes = b"WAWO/1\r\n".to_vec();
    bytes.extend(packet(1, 0, 0, &entry));
    bytes
}

fn packet(kind: u8, flags: u8, call: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes().to_vec();
    bytes.extend([kind, flags, 0, 0]);
    bytes.extend(call.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A call of `Echo/Act` without data, under this id.
fn act(call: u32) -> Vec<u8> {
    packet(6, 1, call, &[0, 0, 0, 7, 0, 0, 0, 2])
}

/// Lets all tasks run.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_caller_that_is_let_in_has_its_identity_in_handlers_and_as_a_peer() {
    let server = who_am_i().authenticate(by_token).build().unwrap();
    let mut clients = Vec::new();
    for name in ["ada", "bob"] {
        let client = with_token(&format!("user {name}"));
        let peer = connect(&server, client).await.unwrap();
        let echo = EchoClient::new(&peer);
        assert_eq!(echo.say(message("")).await.unwrap().data, name.to_owned());
        // The server has proven nothing.
        assert_eq!(peer.identity::<User>(), None);
        clients.push(peer);
    }
    let mut names: Vec<_> = server.handle().peers().iter().map(name_of).collect();
    names.sort();
    assert_eq!(names, ["ada", "bob"]);
}

fn name_of(peer: &Peer) -> String {
    peer.identity::<User>().unwrap().0.clone()
}

#[tokio::test]
async fn without_an_authenticator_everyone_comes_in_and_is_nobody() {
    let server = who_am_i().build().unwrap();
    let peer = connect(&server, with_token("user ada")).await.unwrap();
    let echo = EchoClient::new(&peer);
    assert_eq!(echo.say(message("")).await.unwrap().data, "nobody");
}

#[tokio::test]
async fn a_caller_that_is_refused_gets_the_reason_and_the_server_reports_it() {
    let server = who_am_i().authenticate(by_token).build().unwrap();
    let mut events = server.handle().events();
    for (client, reason) in [
        (with_token("guess"), "the token is not known"),
        (Peer::builder(""), "a token is required"),
    ] {
        let error = connect(&server, client).await.unwrap_err();
        let text = format!("the peer refused the credentials: {reason}");
        assert_eq!(error.to_string(), text);
        let ConnectError::Unauthenticated {
            address,
            reason: given,
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!((address, given.as_str()), (None, reason));
        let event = events.next().await.unwrap();
        let PeerEvent::NotConnected(who, error) = event else {
            panic!("{event:?}");
        };
        assert_eq!(who.address().unwrap().to_string(), "mem://there");
        let text = format!("this side refused the peer: {reason}");
        assert_eq!(error.to_string(), text);
    }
    assert!(server.handle().peers().is_empty());
}

#[tokio::test]
async fn the_error_of_a_client_names_the_address() {
    let mut server = who_am_i().authenticate(by_token).build().unwrap();
    let address = "mem://authentication-address";
    server.bind(address).await.unwrap();
    let _running = tokio::spawn(server.run());
    let client = Peer::builder(address).credentials(Credentials::token("guess"));
    let error = client.connect().await.unwrap_err();
    let text = format!("{address} refused the credentials: the token is not known");
    assert_eq!(error.to_string(), text);
}

#[tokio::test(start_paused = true)]
async fn the_source_of_a_refusal_is_in_the_log_only_and_a_flood_is_one_line_a_second() {
    let (log, _guard) = Log::begin();
    let server = who_am_i().authenticate(async |_: Presented| {
        let found: io::Result<User> = Err(io::Error::other("the database is down"));
        Ok(found?)
    });
    let server = server.build().unwrap();
    for _ in 0..100 {
        let error = connect(&server, Peer::builder("")).await.unwrap_err();
        let text = "the peer refused the credentials: the credentials were not accepted";
        assert_eq!(format!("{error:?}"), text);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let lines = log.lines("connections were not let in");
    let line = |count| {
        format!(
            "WARN connections were not let in from=mem://there count={count} \
             error=this side refused the peer: the credentials were not accepted: the database is down"
        )
    };
    assert_eq!(lines, [line(1), line(99)]);
}

#[tokio::test]
async fn a_panic_of_an_authenticator_refuses_one_caller() {
    let (log, _guard) = Log::begin();
    let server = who_am_i().authenticate(|presented: Presented| {
        assert_ne!(presented.token(), Some("at once"), "secret");
        async move {
            tokio::task::yield_now().await;
            assert_ne!(presented.token(), Some("later"), "secret");
            Ok(User("ada".to_owned()))
        }
    });
    let server = server.build().unwrap();
    for token in ["at once", "later"] {
        let error = connect(&server, with_token(token)).await.unwrap_err();
        let text = "the peer refused the credentials: the check of the credentials failed";
        assert_eq!(error.to_string(), text);
    }
    let _ = connect(&server, with_token("fine")).await.unwrap();
    assert!(
        !log.lines("the authenticator panicked").is_empty(),
        "{log:?}"
    );
    assert!(log.lines("secret").is_empty(), "{log:?}");
}

#[tokio::test]
async fn a_transport_that_the_program_has_opened_is_authenticated_too() {
    let mut server = who_am_i().authenticate(by_token).build().unwrap();
    let (here, there) = duplex(1024);
    let peer = server.accept_over(there).unwrap();
    let client = with_token("user ada").connect_over(here).await.unwrap();
    let echo = EchoClient::new(&client);
    assert_eq!(echo.say(message("")).await.unwrap().data, "ada");
    assert_eq!(name_of(&peer), "ada");

    let (here, there) = duplex(1024);
    let peer = server.accept_over(there).unwrap();
    assert_eq!(peer.identity::<User>(), None);
    let early = tokio::spawn(EchoClient::new(&peer).say(message("")));
    let error = with_token("guess").connect_over(here).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Unauthenticated { .. }),
        "{error}"
    );
    let reason = peer.closed().await.to_string();
    assert_eq!(reason, "this side refused the peer: the token is not known");
    let status: Status = early.await.unwrap().unwrap_err();
    assert!(status.is_safe_to_retry(), "{status:?}");
}

#[tokio::test]
async fn both_sides_may_prove_who_they_are() {
    let server = who_am_i().authenticate(by_token);
    let server = server.credentials(Credentials::token("user server"));
    let server = server.build().unwrap();
    for (token, expected) in [("user ada", "ada"), ("user bob", "bob")] {
        let client = with_token(token).add_service(EchoServer::new(WhoAmI));
        let client = client.authenticate(by_token);
        let peer = connect(&server, client).await.unwrap();
        assert_eq!(name_of(&peer), "server");
        let echo = EchoClient::new(&peer);
        assert_eq!(echo.say(message("")).await.unwrap().data, expected);
        // The handler calls back, and the client knows who does.
        assert_eq!(echo.act(message("")).await.unwrap().data, "server");
    }
}

#[tokio::test]
async fn a_client_refuses_a_server_that_does_not_prove_who_it_is() {
    let server = who_am_i().build().unwrap();
    let mut events = server.handle().events();
    let client = Peer::builder("").authenticate(by_token);
    let error = connect(&server, client).await.unwrap_err().to_string();
    let text = "no connection to the peer: this side refused the peer: a token is required";
    assert_eq!(error, text);
    let reason = loop {
        if let PeerEvent::Disconnected(_, reason) = events.next().await.unwrap() {
            break reason.to_string();
        }
    };
    let text = "the peer closed the connection (unauthenticated): a token is required";
    assert_eq!(reason, text);
}

#[tokio::test]
async fn credentials_are_asked_for_at_each_dial() {
    let server = who_am_i().authenticate(by_token).build().unwrap();
    let dials = Arc::new(AtomicUsize::new(0));
    let count = dials.clone();
    let client = Peer::builder("").credentials(move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move { Ok(Credentials::token(format!("user {number}"))) }
    });
    for number in 0..3 {
        let peer = connect(&server, client.clone()).await.unwrap();
        let name = EchoClient::new(&peer).say(message("")).await.unwrap();
        assert_eq!(name.data, number.to_string());
    }
    assert_eq!(dials.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reconnects_has_the_identity_that_each_connection_has_proven() {
    let address = "mem://authentication-again";
    let client = Peer::builder(address).credentials(Credentials::token("user ada"));
    let client = client.add_service(EchoServer::new(WhoAmI));
    let client = client.authenticate(by_token).connect_lazy().unwrap();
    let mut events = client.events();
    let echo = EchoClient::new(&client);
    for name in ["first", "second"] {
        let server = who_am_i().authenticate(by_token);
        let server = server.credentials(Credentials::token(format!("user {name}")));
        let server = server.bind(address).await.unwrap();
        let running = tokio::spawn(server.run());
        while !matches!(events.next().await, Some(PeerEvent::Connected(_))) {}
        assert_eq!(name_of(&client), name);
        assert_eq!(echo.say(message("")).await.unwrap().data, "ada");
        assert_eq!(echo.act(message("")).await.unwrap().data, name);
        running.abort();
        let _ = running.await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_its_credentials_a_client_dials_nobody() {
    let server = who_am_i().build().unwrap();
    let failing = Peer::builder("").credentials(async || Err("the key is locked".into()));
    let error = connect(&server, failing).await.unwrap_err().to_string();
    assert_eq!(error, "this side has no credentials: the key is locked");
    let panicking = Peer::builder("").credentials(|| -> std::future::Ready<_> { panic!("secret") });
    let error = connect(&server, panicking).await.unwrap_err().to_string();
    let text = "this side has no credentials: the provider of the credentials panicked";
    assert_eq!(error, text);
    let long = Peer::builder("").credentials(Credentials::new(vec![b'x'; 20_000]));
    let error = connect(&server, long).await.unwrap_err().to_string();
    assert!(error.contains("credentials of 20000 bytes"), "{error}");
    let never = || Peer::builder("mem://nobody").credentials(std::future::pending);
    let error = never().connect().await.unwrap_err().to_string();
    let text = "mem://nobody did not answer within 5s (connect_timeout): \
                the provider of the credentials took all of the time";
    assert_eq!(error, text);
    let error = connect(&server, never()).await.unwrap_err().to_string();
    let text = "this side has no credentials: their provider took longer than the connect_timeout";
    assert_eq!(error, text);
}

#[tokio::test]
async fn a_server_without_its_credentials_lets_nobody_in_and_logs_why() {
    let (log, _guard) = Log::begin();
    let failing = async || Err("the key is locked".into());
    let server = who_am_i().credentials(failing).build().unwrap();
    let error = connect(&server, Peer::builder("")).await.unwrap_err();
    let text = "no connection to the peer: the peer closed the connection (internal fault): \
                it could not get its own credentials";
    assert_eq!(error.to_string(), text);
    let lines = log.lines("connections were not let in");
    let [line] = &lines[..] else {
        panic!("{log:?}");
    };
    assert!(line.contains("the key is locked"), "{line}");
}

#[tokio::test]
async fn an_authenticator_sees_all_that_is_presented() {
    let seen = Arc::new(Mutex::new(None));
    let kept = seen.clone();
    let server = who_am_i().authenticate(move |presented: Presented| {
        *kept.lock().unwrap() = Some(presented);
        async { Ok(()) }
    });
    let server = server.build().unwrap();
    let config = Config::builder().claimed_name("ada").build().unwrap();
    let client = with_token("secret").config(config);
    let _ = connect(&server, client).await.unwrap();
    let presented = seen.lock().unwrap().take().unwrap();
    assert_eq!(
        (presented.protocol(), presented.claimed_name()),
        ("wawo", "ada")
    );
    assert_eq!(presented.address().unwrap().to_string(), "mem://there");
    assert!(presented.credentials().matches("secret"));
    assert_eq!(
        (presented.unix_user(), presented.certificates().len()),
        (None, 0)
    );
    let text = format!("{presented:?}");
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn other_protocols_ask_the_authenticator_of_the_server() {
    let server = who_am_i().authenticate(by_token).build().unwrap();
    let gateway = server.handle().gateway("pigeons");
    let presented = |token: &str| {
        gateway
            .presented()
            .with_credentials(Credentials::token(token))
    };
    assert_eq!(presented("").protocol(), "pigeons");
    let identity = gateway.authenticate(presented("user ada")).await.unwrap();
    let guest = gateway.guest().identity(identity).build().unwrap();
    assert_eq!(name_of(&guest.peer()), "ada");
    let refusal = gateway.authenticate(presented("guess")).await.unwrap_err();
    assert_eq!(refusal.reason(), "the token is not known");

    let server = who_am_i().build().unwrap();
    let gateway = server.handle().gateway("pigeons");
    let nobody: Option<Identity> = gateway.authenticate(gateway.presented()).await.unwrap();
    assert!(nobody.is_none());

    let (server, running) = undecided::server(Config::default());
    let gateway = server.handle().gateway("pigeons");
    let refusal = gateway.authenticate(gateway.presented()).await.unwrap_err();
    assert_eq!(refusal.reason(), "the authentication took too long");
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn an_authenticator_sees_the_user_at_the_other_end_of_a_unix_socket() {
    let own = rustix::process::geteuid().as_raw();
    let allowed = move |presented: Presented| async move {
        match presented.unix_user() {
            Some(uid) if uid == own => Ok(User(uid.to_string())),
            _ => Err(Refusal::new("another user")),
        }
    };
    let path = std::env::temp_dir().join(format!("wawo-auth-{}.sock", std::process::id()));
    let address = format!("unix://{}", path.display());
    let mut server = who_am_i().authenticate(allowed).build().unwrap();
    server.bind(address.as_str()).await.unwrap();
    let _running = tokio::spawn(server.run());
    // Both ends know whom they talk to.
    let client = Peer::builder(address.as_str()).authenticate(allowed);
    let peer = client.connect().await.unwrap();
    assert_eq!(name_of(&peer), own.to_string());
    let echo = EchoClient::new(&peer);
    assert_eq!(echo.say(message("")).await.unwrap().data, own.to_string());
}
