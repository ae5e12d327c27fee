//! Sessions that are resumed: cheap handshakes, and no way around a certificate that is not good any more.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use wawo::tls::{
    Pem, ServerTls,
    rustls::{ClientConfig, DEFAULT_VERSIONS, HandshakeKind},
};

use super::{
    reload::Folder,
    support::{AUTHORITY, library_client, localhost, server_builder},
};

/// The kind of a new handshake, or the server's error.
async fn handshake(
    server: &ServerTls,
    client: &Arc<ClientConfig>,
) -> Result<HandshakeKind, String> {
    let (here, there) = tokio::io::duplex(8192);
    let connector = TlsConnector::from(client.clone());
    let connect = connector.connect(localhost(), here);
    let (client, accepted) = tokio::join!(connect, server.accept(there));
    let mut accepted = accepted.map_err(|error| error.to_string())?;
    let mut client = client.unwrap();
    // The tickets come before the first byte.
    accepted.write_all(b"x").await.unwrap();
    accepted.flush().await.unwrap();
    client.read_exact(&mut [0]).await.unwrap();
    Ok(client.get_ref().1.handshake_kind().unwrap())
}

#[tokio::test]
async fn a_session_is_resumed_also_with_a_new_certificate_of_the_server() {
    let folder = Folder::new("resumed");
    let server = folder.server().build().unwrap();
    let client = Arc::new(library_client(DEFAULT_VERSIONS));
    assert_eq!(handshake(&server, &client).await, Ok(HandshakeKind::Full));
    assert_eq!(
        handshake(&server, &client).await,
        Ok(HandshakeKind::Resumed)
    );
    folder.renew();
    assert!(server.reload().unwrap());
    assert_eq!(
        handshake(&server, &client).await,
        Ok(HandshakeKind::Resumed)
    );
}

#[tokio::test]
async fn a_client_that_was_revoked_since_cannot_resume() {
    let folder = Folder::new("revoked-since");
    let issued = AUTHORITY.numbered_client(7, "spiffe://example.org/a");
    folder.write("revoked.pem", &AUTHORITY.revoked(&[]));
    let server = server_builder()
        .client_roots(super::support::pem(&AUTHORITY.root))
        .client_revocation_list(Pem::file(folder.path("revoked.pem")))
        .build()
        .unwrap();
    let client = super::support::library_client_with(&issued);
    assert_eq!(handshake(&server, &client).await, Ok(HandshakeKind::Full));
    assert_eq!(
        handshake(&server, &client).await,
        Ok(HandshakeKind::Resumed)
    );
    folder.write("revoked.pem", &AUTHORITY.revoked(&[&issued]));
    assert!(server.reload().unwrap());
    let error = handshake(&server, &client).await.unwrap_err();
    assert!(error.contains("was revoked"), "{error}");
}
