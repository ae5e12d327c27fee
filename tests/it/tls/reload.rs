//! Files of certificates that change while servers and clients use them.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use wawo::{
    Peer, Transport,
    tls::{ClientTls, Pem, ServerTls, ServerTlsBuilder},
};
use wawo_test_certificates::Authority;

use super::support::{AUTHORITY, NAMES, client_tls, serve};
use crate::{
    logged::Log,
    support::{EchoClient, message},
};

/// A folder with a certificate and its key, which is removed at the end.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wawo-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let folder = Self(path);
        folder.renew();
        folder
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes a new certificate and key.
    pub(super) fn renew(&self) {
        let issued = AUTHORITY.server(&NAMES);
        self.write("cert.pem", &issued.certificate);
        self.write("key.pem", &issued.key);
    }

    pub(super) fn server(&self) -> ServerTlsBuilder {
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| Pem::file(self.path(name)));
        ServerTls::builder().certificate(certificate, key)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The certificate that a client sees.
async fn seen(server: &ServerTls, client: &ClientTls) -> Result<Vec<u8>, String> {
    let (here, there) = tokio::io::duplex(8192);
    let (accepted, connected) =
        tokio::join!(server.accept(there), client.connect(here, "localhost"));
    accepted.map_err(|error| error.to_string())?;
    let facts = connected.map_err(|error| error.to_string())?.facts();
    Ok(facts.certificates()[0].to_vec())
}

#[tokio::test]
async fn a_new_certificate_is_used_for_new_connections() {
    let (log, _guard) = Log::begin();
    let folder = Folder::new("reload");
    let server = folder.server().build().unwrap();
    let client = client_tls();
    let first = seen(&server, &client).await.unwrap();
    assert!(!server.reload().unwrap());
    folder.renew();
    assert!(server.reload().unwrap());
    let line = "INFO new files of TLS are in use side=\"server\"";
    assert_eq!(log.of("wawo::tls"), [line]);
    // A session that is resumed has the certificate of its first handshake.
    let second = seen(&server, &client_tls()).await.unwrap();
    assert_ne!(first, second);
}

#[tokio::test]
async fn the_last_good_certificate_stays_in_use() {
    let (log, _guard) = Log::begin();
    let folder = Folder::new("last-good");
    let server = folder.server().build().unwrap();
    let first = seen(&server, &client_tls()).await.unwrap();
    let (certificate, key) = ("cert.pem", "key.pem");
    let before = fs::read_to_string(folder.path(key)).unwrap();
    for (name, text) in [
        (certificate, "broken"),
        (certificate, ""),
        (key, "broken"),
        (key, ""),
    ] {
        folder.write(name, text);
        server.reload().unwrap_err();
    }
    // A new certificate whose key has not come yet.
    folder.renew();
    let after = fs::read_to_string(folder.path(key)).unwrap();
    folder.write(key, &before);
    let error = server.reload().unwrap_err().to_string();
    assert!(
        error.contains("is not that of the first certificate in"),
        "{error}"
    );
    fs::remove_file(folder.path(key)).unwrap();
    server.reload().unwrap_err();
    let begin =
        "WARN the files of TLS cannot be used; those before stay in use side=\"server\" error=";
    let lines = log.of("wawo::tls");
    assert!(
        lines.iter().all(|line| line.starts_with(begin)),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(log.lines("PRIVATE KEY").is_empty(), "{lines:?}");
    assert_eq!(seen(&server, &client_tls()).await.unwrap(), first);
    folder.write(key, &after);
    assert!(server.reload().unwrap());
    assert_ne!(seen(&server, &client_tls()).await.unwrap(), first);
}

#[tokio::test]
async fn roots_for_clients_are_read_anew_too() {
    let folder = Folder::new("client-roots");
    let other = Authority::new("other");
    folder.write("roots.pem", &AUTHORITY.root);
    let server = folder
        .server()
        .client_roots(Pem::file(folder.path("roots.pem")));
    let server = server.build().unwrap();
    let client = |authority: &Authority| {
        let issued = authority.client("spiffe://example.org/a");
        super::support::client_with(&issued).build().unwrap()
    };
    let (ours, theirs) = (client(&AUTHORITY), client(&other));
    seen(&server, &ours).await.unwrap();
    seen(&server, &theirs).await.unwrap_err();
    folder.write("roots.pem", &other.root);
    assert!(server.reload().unwrap());
    seen(&server, &theirs).await.unwrap();
    // Also with the ticket of its session.
    seen(&server, &ours).await.unwrap_err();
}

#[tokio::test]
async fn the_files_of_a_client_are_read_before_each_connect() {
    let folder = Folder::new("client-files");
    let other = Authority::new("other");
    folder.write("roots.pem", &other.root);
    let tls = ClientTls::builder().roots(Pem::file(folder.path("roots.pem")));
    let tls = tls.build().unwrap();
    let (_server, address, _) = serve("tls://127.0.0.1:0", folder.server().build().unwrap()).await;
    let peer = Peer::builder(&*address).tls(tls);
    peer.clone().connect().await.unwrap_err();
    folder.write("roots.pem", &AUTHORITY.root);
    let peer = peer.connect().await.unwrap();
    assert!(!peer.is_closed());
}

#[tokio::test]
async fn the_files_of_a_client_are_read_before_a_handshake_over_an_open_transport_too() {
    let folder = Folder::new("client-open");
    let other = Authority::new("other");
    folder.write("roots.pem", &other.root);
    let client = ClientTls::builder().roots(Pem::file(folder.path("roots.pem")));
    let client = client.build().unwrap();
    let server = folder.server().build().unwrap();
    seen(&server, &client).await.unwrap_err();
    folder.write("roots.pem", &AUTHORITY.root);
    seen(&server, &client).await.unwrap();
}

/// The variable that makes this binary a client which trusts the roots of the system.
#[cfg(target_os = "linux")]
const IS_CLIENT: &str = "WAWO_IT_SYSTEM_ROOTS";

#[cfg(target_os = "linux")]
#[test]
fn the_roots_of_the_system_are_read_once() {
    let folder = Folder::new("system-roots");
    folder.write("system.pem", &AUTHORITY.root);
    folder.write("roots.pem", &Authority::new("other").root);
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "tls::reload::client_with_roots_of_the_system"]);
    child.env(IS_CLIENT, &folder.0);
    child.env("SSL_CERT_FILE", folder.path("system.pem"));
    child.env_remove("SSL_CERT_DIR");
    let output = child.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// No test of its own: the client in the other process.
#[cfg(target_os = "linux")]
#[test]
fn client_with_roots_of_the_system() {
    let Some(folder) = std::env::var_os(IS_CLIENT).map(PathBuf::from) else {
        return;
    };
    let tls = ClientTls::builder().system_roots();
    let tls = tls.roots(Pem::file(folder.join("roots.pem")));
    let tls = tls.build().unwrap();
    fs::remove_file(folder.join("system.pem")).unwrap();
    assert!(!tls.reload().unwrap());
    fs::write(folder.join("roots.pem"), Authority::new("next").root).unwrap();
    assert!(tls.reload().unwrap(), "the file is new");
}

/// Row 42 of the threats.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_the_certificate_is_swapped_twenty_times() {
    const SWAPS: usize = 20;
    let folder = Folder::new("swaps");
    let tls = folder.server().build().unwrap();
    let (_server, address, _) = serve("tls://127.0.0.1:0", tls.clone()).await;
    let (is_over, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let kept = Peer::builder(&*address)
        .tls(client_tls())
        .connect()
        .await
        .unwrap();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (address, kept) = (address.clone(), EchoClient::new(&kept));
            let (is_over, calls) = (is_over.clone(), calls.clone());
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let fresh = Peer::builder(&*address)
                        .tls(client_tls())
                        .connect()
                        .await
                        .unwrap();
                    let fresh = EchoClient::new(&fresh);
                    for echo in [&kept, &fresh] {
                        assert_eq!(echo.say(message("on")).await.unwrap().data, "on");
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for _ in 0..SWAPS {
        let before = calls.load(Ordering::Relaxed);
        folder.renew();
        assert!(tls.reload().unwrap());
        while calls.load(Ordering::Relaxed) < before + 20 {
            tokio::task::yield_now().await;
        }
    }
    is_over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
}
