//! The protocols inside of TLS (ALPN).

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use wawo::tls::rustls::{ClientConfig, DEFAULT_VERSIONS};
use wawo::{Arrival, Peer, Protocol, Recognition, Server, Transport, transport::BoxFuture};

use super::support::{failure, library_client, localhost, serve_with, server_tls};
use crate::support::{EchoClient, message};

/// Stands for HTTP.
struct Web;

impl Protocol for Web {
    fn name(&self) -> &str {
        "web"
    }

    fn alpn(&self) -> Vec<Vec<u8>> {
        vec![b"h2".to_vec(), b"http/1.1".to_vec()]
    }

    fn recognise(&self, start: &[u8]) -> Recognition {
        match start.starts_with(b"GET") {
            true => Recognition::Yes,
            false => Recognition::No,
        }
    }

    fn serve(&self, mut transport: Box<dyn Transport>, _: Arrival) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            use tokio::io::AsyncWriteExt as _;
            transport.write_all(b"web").await.unwrap();
            transport.shutdown().await.unwrap();
        })
    }
}

fn client_of(protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut config = library_client(DEFAULT_VERSIONS);
    config.alpn_protocols = protocols.iter().map(|id| id.to_vec()).collect();
    Arc::new(config)
}

/// The protocol that a client with these protocols and a server agree on.
async fn agreed(address: &str, protocols: &[&[u8]]) -> Option<Vec<u8>> {
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let connector = TlsConnector::from(client_of(protocols));
    let stream = connector.connect(localhost(), socket).await.unwrap();
    stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)
}

#[tokio::test]
async fn the_protocols_of_a_server_are_offered() {
    let builder = Server::builder().tls(server_tls()).protocol(Web);
    let (_server, address, _) = serve_with("tls://127.0.0.1:0", builder).await;
    let address = address.trim_start_matches("tls://");
    for (client, chosen) in [
        (&[&b"wawo/1"[..]][..], Some(&b"wawo/1"[..])),
        (&[b"http/1.1", b"h2"], Some(b"h2")),
        (&[b"h2", b"wawo/1"], Some(b"wawo/1")),
        (&[], None),
    ] {
        assert_eq!(agreed(address, client).await.as_deref(), chosen);
    }
}

/// The first bytes inside decide, as they do without TLS.
#[tokio::test]
async fn what_is_inside_of_tls_is_recognised() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let builder = Server::builder().tls(server_tls()).protocol(Web);
    let (_server, address, _) = serve_with("tls://127.0.0.1:0", builder).await;
    let connect = async |protocols| {
        let socket = tokio::net::TcpStream::connect(address.trim_start_matches("tls://")).await;
        let connector = TlsConnector::from(client_of(protocols));
        connector
            .connect(localhost(), socket.unwrap())
            .await
            .unwrap()
    };
    let mut web = connect(&[b"h2"]).await;
    web.write_all(b"GET").await.unwrap();
    let mut answer = String::new();
    web.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "web");
    // Without ALPN a client is taken.
    let peer = Peer::builder("")
        .connect_over(connect(&[]).await)
        .await
        .unwrap();
    let reply = EchoClient::new(&peer).say(message("inside")).await.unwrap();
    assert_eq!(reply.data, "inside");
}

#[tokio::test]
async fn a_client_that_names_only_other_protocols_is_refused() {
    let client = client_of(&[b"mqtt"]).into();
    let failure = failure("foreign-alpn", server_tls(), client).await;
    let text = "the client names protocols inside of TLS (ALPN) of which this server speaks none";
    assert!(failure.at_server.contains(text), "{}", failure.at_server);
    let text = "the server speaks no wawo inside of TLS (ALPN `wawo/1`)";
    assert!(failure.at_client.contains(text), "{}", failure.at_client);
}
