//! Certificates, and servers and clients that have them.

use std::sync::{Arc, LazyLock};

use wawo::{
    Peer, PeerBuilder, PeerEvent, Server, ServerBuilder,
    tls::{
        ClientTls, ClientTlsBuilder, Pem, ServerTls, ServerTlsBuilder,
        rustls::{
            ClientConfig, DEFAULT_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion,
            crypto::ring::default_provider,
            pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
            sign::{CertifiedKey, SingleCertAndKey},
        },
    },
};
use wawo_test_certificates::{Authority, Issued};

use crate::support::{EchoServer, Parrot, Running, Seen};

/// The authority that both sides trust.
pub(super) static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("root"));

/// The names of the server in these tests.
pub(super) const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

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

/// The errors with which both sides see a connection fail.
pub(super) struct Failure {
    pub(super) at_client: String,
    pub(super) at_server: String,
}

/// Connects over an address of this name in memory, and returns both errors.
pub(super) async fn failure(name: &str, server: ServerTls, client: ClientTls) -> Failure {
    let server = Server::builder().tls(server);
    let server = server.bind(format!("tls+mem://{name}")).await.unwrap();
    let mut events = server.handle().events();
    let _server = Running::spawn(server);
    let peer = Peer::builder(format!("tls+mem://{name}")).tls(client);
    let at_client = peer.connect().await.unwrap_err().to_string();
    let at_server = loop {
        if let PeerEvent::NotConnected(_, error) = events.next().await.unwrap() {
            break error.to_string();
        }
    };
    Failure {
        at_client,
        at_server,
    }
}

/// The configuration of the TLS library for a client that trusts the authority, without ALPN.
pub(super) fn library_client(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from(AUTHORITY.root_der.clone());
    roots.add(root).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(versions).unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

/// The configuration of the TLS library for a server.
pub(super) fn library_server(versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    let issued = AUTHORITY.server(&NAMES);
    let chain = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(versions).unwrap();
    let builder = builder.with_no_client_auth();
    builder.with_single_cert(vec![chain], key).unwrap()
}

/// The name of the server for the TLS library.
pub(super) fn localhost() -> ServerName<'static> {
    "localhost".try_into().unwrap()
}

/// The configuration of the TLS library for a client with a certificate.
pub(super) fn library_client_with(issued: &Issued) -> Arc<ClientConfig> {
    let mut config = library_client(DEFAULT_VERSIONS);
    let chain = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let key = CertifiedKey::from_der(vec![chain], key, &default_provider()).unwrap();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(key));
    Arc::new(config)
}
