//! Settings and files that cannot be used: errors name the place and the remedy.

use std::{path::PathBuf, sync::Arc, time::Duration};

use wawo::{
    Peer, Server,
    tls::{ClientTls, Pem, ServerTls, rustls::DEFAULT_VERSIONS},
};

#[cfg(unix)]
use super::reload::Folder;
use super::support::{
    AUTHORITY, NAMES, client_builder, library_client, library_server, pem, server_builder,
};

#[test]
fn files_that_cannot_be_used_are_named() {
    let issued = AUTHORITY.server(&NAMES);
    let other = AUTHORITY.server(&NAMES);
    let text = |certificate: &str, key: &str| {
        let built = ServerTls::from_pem(certificate, key);
        built.unwrap_err().to_string()
    };
    let wrong_key = text(&issued.certificate, &other.key);
    assert!(
        wrong_key.starts_with("the key in the PEM text in memory is not that of"),
        "{wrong_key}"
    );
    let no_certificate = text("", &issued.key);
    assert!(
        no_certificate.contains("it has no certificate"),
        "{no_certificate}"
    );
    let no_key = text(&issued.certificate, &issued.certificate);
    assert!(no_key.contains("it has no private key"), "{no_key}");
    let broken = text(&issued.certificate.replace("MII", "!!!"), &issued.key);
    assert!(broken.contains("it is no valid PEM"), "{broken}");
    let missing = PathBuf::from("no-such-folder/cert.pem");
    let error = ServerTls::from_pem_files(missing, "key.pem").unwrap_err();
    let begin = "cannot read `no-such-folder/cert.pem` for TLS: ";
    assert!(error.to_string().starts_with(begin), "{error}");
    for secret in issued.key.lines().filter(|line| !line.starts_with('-')) {
        for text in [&wrong_key, &no_certificate, &no_key, &broken] {
            assert!(!text.contains(secret));
        }
        assert!(
            !format!(
                "{:?}",
                ServerTls::from_pem(&*issued.certificate, &*issued.key)
            )
            .contains(secret)
        );
        assert!(!format!("{:?}", Pem::bytes(&*issued.key)).contains(secret));
    }
}

/// A pipe that nobody writes to would block the reader for ever.
#[cfg(unix)]
#[test]
fn only_regular_files_are_read_also_through_links() {
    let folder = Folder::new("kinds");
    let (pipe, link) = (folder.path("pipe.pem"), folder.path("link.pem"));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for path in [pipe, folder.path("")] {
        let error = ServerTls::from_pem_files(path, folder.path("key.pem")).unwrap_err();
        let text = error.to_string();
        assert!(text.ends_with("for TLS: it is not a file"), "{text}");
    }
    std::os::unix::fs::symlink(folder.path("cert.pem"), &link).unwrap();
    ServerTls::from_pem_files(link, folder.path("key.pem")).unwrap();
}

#[test]
fn settings_that_do_not_fit_are_errors() {
    let error = ServerTls::builder().build().unwrap_err().to_string();
    assert!(
        error.starts_with("a server needs a certificate for TLS"),
        "{error}"
    );
    let optional = server_builder().client_certificates_optional();
    let error = optional.build().unwrap_err().to_string();
    assert!(error.contains("need roots"), "{error}");
    let error = server_builder()
        .reload_interval(Duration::ZERO)
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("at least 1 ms"), "{error}");
    let list = client_builder().revocation_list(pem(&AUTHORITY.root));
    let error = list.build().unwrap_err().to_string();
    assert!(error.contains("it has no revocation list"), "{error}");
}

#[test]
fn roots_may_be_in_der() {
    ClientTls::builder()
        .root_der(AUTHORITY.root_der.clone())
        .build()
        .unwrap();
    let error = ClientTls::builder().root_der(*b"no").build().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("a root certificate in DER: it is broken"),
        "{error}"
    );
}

#[tokio::test]
async fn an_address_of_tls_needs_a_certificate() {
    let error = Server::builder()
        .bind("tls://127.0.0.1:0")
        .await
        .unwrap_err();
    let text = "the server has no certificate: give it one by `ServerBuilder::tls`";
    assert!(error.to_string().ends_with(text), "{error}");
}

#[tokio::test]
async fn an_address_without_a_host_needs_a_server_name() {
    struct Near;

    impl wawo::transport::Connect for Near {
        fn scheme(&self) -> &str {
            "near"
        }

        fn connect<'a>(
            &'a self,
            _: &'a wawo::Address,
            _: &'a wawo::SocketOptions,
            _: &'a mut wawo::transport::Attempts,
        ) -> wawo::transport::BoxFuture<'a, std::io::Result<Box<dyn wawo::Transport>>> {
            Box::pin(async { Err(std::io::Error::other("it was asked")) })
        }
    }

    let peer = |tls| Peer::builder("tls+near://7").connector(Near).tls(tls);
    let error = peer(client_builder().build().unwrap())
        .connect()
        .await
        .unwrap_err();
    let text = "set `ClientTls::builder().server_name(..)`";
    assert!(error.to_string().ends_with(text), "{error}");
    let named = client_builder()
        .server_name("near.example")
        .build()
        .unwrap();
    let error = peer(named).connect().await.unwrap_err();
    assert!(error.to_string().ends_with("it was asked"), "{error}");
}

/// Row 41 of the threats: early data could be sent once more by others.
#[tokio::test]
async fn early_data_stays_off_whatever_a_configuration_says() {
    let mut server = library_server(DEFAULT_VERSIONS);
    server.max_early_data_size = u32::MAX;
    let mut with_early_data = library_client(DEFAULT_VERSIONS);
    with_early_data.enable_early_data = true;
    let with_early_data = Arc::new(with_early_data);
    for server in [
        ServerTls::from(Arc::new(server)),
        server_builder().build().unwrap(),
    ] {
        // The second connection has a ticket; a server that took early data would say so in it.
        for _ in 0..2 {
            let (here, there) = tokio::io::duplex(8192);
            let connector = tokio_rustls::TlsConnector::from(with_early_data.clone());
            let connect = connector.connect(super::support::localhost(), here);
            let (client, accepted) = tokio::join!(connect, server.accept(there));
            let mut client = client.unwrap();
            let mut accepted = accepted.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut accepted, b"x")
                .await
                .unwrap();
            tokio::io::AsyncWriteExt::flush(&mut accepted)
                .await
                .unwrap();
            tokio::io::AsyncReadExt::read_exact(&mut client, &mut [0])
                .await
                .unwrap();
            assert!(client.get_mut().1.early_data().is_none());
        }
    }
}
