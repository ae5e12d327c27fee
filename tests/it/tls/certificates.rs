//! Certificates that are not accepted: both sides learn why.

use std::sync::Arc;

use wawo::tls::rustls::version::{TLS12, TLS13};
use wawo_test_certificates::{Authority, self_signed};

use super::support::{
    AUTHORITY, NAMES, client_builder, client_tls, client_with, failure, library_client,
    library_server, pem, server_builder, server_tls, server_with,
};

#[track_caller]
fn has(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` in `{text}`");
}

#[tokio::test]
async fn a_certificate_of_a_server_that_is_not_accepted_is_named_at_both_sides() {
    let other = Authority::new("other");
    let own = self_signed(&NAMES);
    for (name, issued, at_client, at_server) in [
        (
            "unknown-issuer",
            other.server(&NAMES),
            "the server's certificate was signed by nobody that this side trusts",
            "the client does not accept the certificate of this server: it does not know who signed it",
        ),
        (
            "wrong-name",
            AUTHORITY.server(&["chat.example", "10.0.0.7"]),
            "the server's certificate is not for `localhost` but for chat.example, 10.0.0.7: connect by",
            "the client does not accept the certificate of this server: it is for another name, or broken",
        ),
        (
            "expired",
            AUTHORITY.expired_server(&NAMES),
            "the server's certificate has expired",
            "the client does not accept the certificate of this server: it has expired",
        ),
        (
            "wrong-usage",
            AUTHORITY.client("spiffe://example.org/a"),
            "the server's certificate is for another purpose: its extended key usage must name a server",
            "the client does not accept the certificate of this server: it is for another purpose",
        ),
        (
            "self-signed",
            own,
            "the server's certificate is that of an authority, or signed by itself: issue one for the server",
            "the client does not accept the certificate of this server: it gives no reason",
        ),
    ] {
        let server = server_with(&issued).build().unwrap();
        let failure = failure(name, server, client_tls()).await;
        has(&failure.at_client, at_client);
        has(&failure.at_server, at_server);
        has(
            &failure.at_client,
            &format!("cannot connect to tls+mem://{name}: "),
        );
    }
}

#[tokio::test]
async fn a_certificate_of_a_client_that_is_not_accepted_is_named_at_both_sides() {
    let other = Authority::new("other");
    let refused = "the server does not accept the certificate of this side: ";
    let revoked = AUTHORITY.numbered_client(7, "spiffe://example.org/revoked");
    for (name, issued, at_client, at_server) in [
        (
            "client-unknown-issuer",
            other.client("spiffe://example.org/a"),
            "it does not know who signed it",
            "the client's certificate was signed by nobody that this side trusts",
        ),
        (
            "client-expired",
            AUTHORITY.expired_client(),
            "it has expired",
            "the client's certificate has expired",
        ),
        (
            "client-wrong-usage",
            AUTHORITY.server(&NAMES),
            "it is for another purpose",
            "the client's certificate is for another purpose: its extended key usage must name a client",
        ),
        (
            "client-self-signed",
            self_signed(&["client"]),
            "it gives no reason",
            "the client's certificate is that of an authority, or signed by itself: issue one for the client",
        ),
        (
            "client-revoked",
            revoked.clone(),
            "it was revoked",
            "the client's certificate was revoked by its issuer",
        ),
    ] {
        let server = server_builder()
            .client_roots(pem(&AUTHORITY.root))
            .client_revocation_list(pem(&AUTHORITY.revoked(&[&revoked])))
            .build()
            .unwrap();
        let client = client_with(&issued).build().unwrap();
        let failure = failure(name, server, client).await;
        has(&failure.at_client, &format!("{refused}{at_client}"));
        has(&failure.at_server, at_server);
    }
}

/// In TLS 1.3 the error comes with the first read, after the handshake of the client.
#[tokio::test]
async fn a_client_without_a_certificate_learns_that_it_needs_one() {
    let server = || {
        let server = server_builder().client_roots(pem(&AUTHORITY.root));
        server.build().unwrap()
    };
    let shown = "the client has shown no certificate, and this server requires one";
    let failure_13 = failure("no-certificate", server(), client_tls()).await;
    has(
        &failure_13.at_client,
        "the server requires a certificate of this side: give one by `ClientTls::builder().certificate(..)`",
    );
    has(&failure_13.at_server, shown);
    let old = Arc::new(library_client(&[&TLS12]));
    let failure_12 = failure("no-certificate-12", server(), old.into()).await;
    has(
        &failure_12.at_client,
        "the server requires a certificate of this side",
    );
    has(&failure_12.at_server, shown);
}

#[tokio::test]
async fn a_revoked_certificate_of_a_server_is_refused() {
    let issued = AUTHORITY.server(&NAMES);
    let server = server_with(&issued).build().unwrap();
    let client = client_builder().revocation_list(pem(&AUTHORITY.revoked(&[&issued])));
    let failure = failure("revoked", server, client.build().unwrap()).await;
    has(
        &failure.at_client,
        "the server's certificate was revoked by its issuer",
    );
}

#[tokio::test]
async fn a_chain_of_certificates_has_at_most_32_kib() {
    let server = server_builder().client_roots(pem(&AUTHORITY.root));
    let client = client_with(&AUTHORITY.long_client(40_000));
    let (server, client) = (server.build().unwrap(), client.build().unwrap());
    let failure = failure("huge-chain", server, client).await;
    has(
        &failure.at_server,
        "its handshake of TLS has more than 32 KiB",
    );
}

#[tokio::test]
async fn a_chain_below_the_limit_is_read() {
    let server = server_builder().client_roots(pem(&AUTHORITY.root));
    let client = client_with(&AUTHORITY.long_client(24_000));
    let (here, there) = tokio::io::duplex(64 * 1024);
    let (server, client) = (server.build().unwrap(), client.build().unwrap());
    let (server, client) = tokio::join!(server.accept(there), client.connect(here, "localhost"));
    client.unwrap();
    server.unwrap();
}

#[tokio::test]
async fn the_versions_are_tls_1_2_and_1_3() {
    for version in [&TLS12, &TLS13] {
        let client = Arc::new(library_client(&[version]));
        let (here, there) = tokio::io::duplex(4096);
        let accept = async { server_tls().accept(there).await };
        let connector = tokio_rustls::TlsConnector::from(client);
        let connect = connector.connect(super::support::localhost(), here);
        let (client, server) = tokio::join!(connect, accept);
        let client = client.unwrap();
        assert_eq!(client.get_ref().1.protocol_version(), Some(version.version));
        server.unwrap();
    }
    let server = Arc::new(library_server(&[&TLS13])).into();
    let client = Arc::new(library_client(&[&TLS12])).into();
    let failure = failure("versions", server, client).await;
    has(
        &failure.at_client,
        "no version of TLS in common with this side",
    );
    has(
        &failure.at_server,
        "no version or cipher of TLS in common with this side",
    );
}

/// A name may be switched off, and nothing else with it.
#[tokio::test]
async fn any_server_name_is_accepted_only_from_a_known_issuer() {
    let (other, wrong) = (Authority::new("other"), ["chat.example"]);
    let client = || {
        client_builder()
            .danger_accept_any_server_name()
            .build()
            .unwrap()
    };
    let (here, there) = tokio::io::duplex(4096);
    let server = server_with(&AUTHORITY.server(&wrong)).build().unwrap();
    let tls = client();
    let (server, peer) = tokio::join!(server.accept(there), tls.connect(here, "localhost"));
    server.unwrap();
    peer.unwrap();
    for (name, issued, text) in [
        ("any-name-issuer", other.server(&wrong), "signed by nobody"),
        (
            "any-name-expired",
            AUTHORITY.expired_server(&wrong),
            "has expired",
        ),
        (
            "any-name-usage",
            AUTHORITY.client("spiffe://a"),
            "another purpose",
        ),
    ] {
        let server = server_with(&issued).build().unwrap();
        let failure = failure(name, server, client()).await;
        has(&failure.at_client, text);
    }
}

#[tokio::test]
async fn the_name_of_the_server_may_be_another_than_the_host() {
    let server = || {
        server_with(&AUTHORITY.server(&["chat.example"]))
            .build()
            .unwrap()
    };
    let tls = client_builder()
        .server_name("chat.example")
        .build()
        .unwrap();
    let (here, there) = tokio::io::duplex(4096);
    let accepting = server();
    let (accepted, peer) = tokio::join!(accepting.accept(there), tls.connect(here, "10.0.0.1"));
    accepted.unwrap();
    peer.unwrap();
    for (name, text) in [
        ("", "cannot have the name ``"),
        ("a b", "cannot have the name `a b`"),
    ] {
        let error = client_builder().server_name(name).build().unwrap_err();
        has(&error.to_string(), text);
    }
}
