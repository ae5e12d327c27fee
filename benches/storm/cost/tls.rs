//! Handshakes over TLS 1.3, with certificates of the curve P-256.

use std::{net::TcpStream, sync::Arc, time::Duration};

use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, Stream,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use wawo::{
    Server,
    tls::{Pem, ServerTls},
};
use wawo_test_certificates::Authority;

use super::{exchange_hellos, measure};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Each handshake is a whole one.
    Full,
    /// The client has a certificate too.
    Mutual,
    /// Each handshake resumes the session of the one before.
    Resumed,
}

pub(super) const KINDS: [Kind; 3] = [Kind::Full, Kind::Mutual, Kind::Resumed];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Full => "TLS 1.3",
            Self::Mutual => "TLS 1.3 with a client certificate",
            Self::Resumed => "TLS 1.3, resumed",
        }
    }

    /// The CPU time of a server for each handshake.
    pub(super) fn cost(self, handshakes: u32) -> Duration {
        let authority = Authority::new("bench");
        let server = Server::builder().tls(self.server(&authority));
        let client = Arc::new(self.client(&authority));
        measure(server, "tls", handshakes, |mut socket: TcpStream| {
            let name = ServerName::try_from("localhost").expect("a name");
            let client = ClientConnection::new(client.clone(), name);
            let mut client = client.expect("the name is right");
            exchange_hellos(&mut Stream::new(&mut client, &mut socket));
            socket
        })
    }

    fn server(self, authority: &Authority) -> ServerTls {
        let issued = authority.server(&["localhost"]);
        let (certificate, key) = (Pem::bytes(issued.certificate), Pem::bytes(issued.key));
        let server = ServerTls::builder().certificate(certificate, key);
        let server = match self {
            Self::Mutual => server.client_roots(Pem::bytes(&*authority.root)),
            Self::Full | Self::Resumed => server,
        };
        server.build().expect("right certificates")
    }

    fn client(self, authority: &Authority) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from(authority.root_der.clone());
        roots.add(root).expect("a right certificate");
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let client = client.with_safe_default_protocol_versions();
        let client = client.expect("versions that the provider has");
        let client = client.with_root_certificates(roots);
        let mut client = match self {
            Self::Mutual => {
                let issued = authority.client("spiffe://example.org/bench");
                let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes());
                let chain = vec![certificate.expect("a certificate")];
                let client = client.with_client_auth_cert(chain, key.expect("a key"));
                client.expect("the key of the certificate")
            }
            Self::Full | Self::Resumed => client.with_no_client_auth(),
        };
        if self != Self::Resumed {
            client.resumption = Resumption::disabled();
        }
        client
    }
}
