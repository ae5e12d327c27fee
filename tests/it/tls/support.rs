//! Certificates, and servers and clients that have them.

use std::sync::{Arc, LazyLock};

use wawo::{
    Peer, PeerBuilder, Server, ServerBuilder,
    tls::{ClientTls, ClientTlsBuilder, Pem, ServerTls, ServerTlsBuilder},
};
use wawo_test_certificates::{Authority, Issued};

use crate::support::{EchoServer, Parrot, Running, Seen};

/// The authority that both sides trust.
pub(super) static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("root"));

/// The names of the server in these tests.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

pub(super) fn pem(text: &str) -> Pem {
    Pem::bytes(text)
}

/// The settings of a server with a certificate of this kind.
pub(super) fn server_with(issued: &Issued) -> ServerTlsBuilder {
    ServerTls::builder().certificate(pem(&issued.certificate), pem(&issued.key))
}

pub(super) fn server_builder() -> ServerTlsBuilder {
    server_with(&AUTHORITY.server(&NAMES))
}

pub(super) fn server_tls() -> ServerTls {
    server_builder().build().unwrap()
}

/// The settings of a client that trusts the authority.
pub(super) fn client_builder() -> ClientTlsBuilder {
    ClientTls::builder().roots(pem(&AUTHORITY.root))
}

pub(super) fn client_tls() -> ClientTls {
    client_builder().build().unwrap()
}

/// The settings of a client with a certificate.
#[allow(dead_code)]
pub(super) fn client_with(issued: &Issued) -> ClientTlsBuilder {
    client_builder().certificate(pem(&issued.certificate), pem(&issued.key))
}

/// Serves a parrot; returns the address for clients.
pub(super) async fn serve(address: &str, tls: ServerTls) -> (Running, String, Arc<Seen>) {
    serve_with(address, Server::builder().tls(tls)).await
}

pub(super) async fn serve_with(
    address: &str,
    builder: ServerBuilder,
) -> (Running, String, Arc<Seen>) {
    let parrot = Parrot::default();
    let seen = parrot.0.clone();
    let server = builder.add_service(EchoServer::new(parrot));
    let server = server.bind(address).await.expect("the address is free");
    let address = server.addresses()[0].to_string();
    (Running::spawn(server), address, seen)
}

/// A client that trusts the authority, and serves a parrot too.
pub(super) fn client(address: &str) -> PeerBuilder {
    let builder = Peer::builder(address).tls(client_tls());
    builder.add_service(EchoServer::new(Parrot::default()))
}
