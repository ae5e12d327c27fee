//! The certificates of the other end, as authentication sees them.

use wawo::{Peer, Presented, Refusal, Server, Transport, tls::CertificateNames};

use super::support::{AUTHORITY, client_tls, client_with, pem, server_builder};

#[tokio::test]
async fn the_verified_certificates_of_both_ends_are_facts() {
    let server = server_builder()
        .client_roots(pem(&AUTHORITY.root))
        .build()
        .unwrap();
    let issued = AUTHORITY.client("spiffe://example.org/billing");
    let client = client_with(&issued).build().unwrap();
    let (here, there) = tokio::io::duplex(4096);
    let (at_server, at_client) =
        tokio::join!(server.accept(there), client.connect(here, "localhost"));
    let facts = at_server.unwrap().facts();
    let names = CertificateNames::of(&facts.certificates()[0]).unwrap();
    assert_eq!(names.uris(), ["spiffe://example.org/billing"]);
    assert!(names.dns().is_empty());
    let facts = at_client.unwrap().facts();
    let names = CertificateNames::of(&facts.certificates()[0]).unwrap();
    assert_eq!(names.dns(), ["localhost"]);
    assert_eq!(CertificateNames::of(b"no certificate"), None);
}

#[tokio::test]
async fn certificates_of_clients_may_be_optional() {
    let server = server_builder()
        .client_roots(pem(&AUTHORITY.root))
        .client_certificates_optional()
        .build()
        .unwrap();
    let named = client_with(&AUTHORITY.client("spiffe://example.org/a"))
        .build()
        .unwrap();
    for (client, count) in [(client_tls(), 0), (named, 1)] {
        let (here, there) = tokio::io::duplex(4096);
        let (at_server, at_client) =
            tokio::join!(server.accept(there), client.connect(here, "localhost"));
        at_client.unwrap();
        assert_eq!(at_server.unwrap().facts().certificates().len(), count);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_user_behind_a_unix_socket_is_a_fact_inside_of_tls_too() {
    let (here, there) = tokio::net::UnixStream::pair().unwrap();
    let user = there.peer_cred().unwrap().uid();
    let (server, client) = (super::support::server_tls(), client_tls());
    let (at_server, at_client) =
        tokio::join!(server.accept(there), client.connect(here, "localhost"));
    at_client.unwrap();
    assert_eq!(at_server.unwrap().facts().unix_user(), Some(user));
}

/// The name in the certificate of a client.
async fn workload(presented: Presented) -> Result<String, Refusal> {
    let own = presented.certificates().first();
    let names = own.and_then(|own| CertificateNames::of(own));
    let uri = names.and_then(|names| names.uris().first().cloned());
    uri.ok_or_else(|| Refusal::new("a certificate with a URI is needed"))
}

#[tokio::test]
async fn a_client_certificate_is_an_identity() {
    let tls = server_builder()
        .client_roots(pem(&AUTHORITY.root))
        .client_certificates_optional();
    let builder = Server::builder()
        .tls(tls.build().unwrap())
        .authenticate(workload);
    let server = builder.bind("tls://127.0.0.1:0").await.unwrap();
    let (address, handle) = (server.addresses()[0].to_string(), server.handle());
    let _server = crate::support::Running::spawn(server);
    let billing = client_with(&AUTHORITY.client("spiffe://example.org/billing"));
    let peer = Peer::builder(&*address).tls(billing.build().unwrap());
    let _peer = peer.connect().await.unwrap();
    let at_server = handle.peers().remove(0);
    let identity = at_server.identity::<String>().unwrap();
    assert_eq!(*identity, "spiffe://example.org/billing");
    let nameless = Peer::builder(&*address).tls(client_tls());
    let error = nameless.connect().await.unwrap_err().to_string();
    assert!(
        error.ends_with("a certificate with a URI is needed"),
        "{error}"
    );
}
