//! TLS over a simulated link. Its keys are new in each process, but its handshakes have as many
//! bytes each time, so that a seed means the same.

use std::{io, sync::LazyLock, time::Duration};

use tokio::{select, sync::watch, time::timeout};
use wawo::{
    tls::{ClientTls, Pem, ServerTls},
    transport::TransportWithFacts,
};
use wawo_test_certificates::{Authority, Issued};

use crate::link::End;

static CERTIFICATES: LazyLock<(Authority, Issued)> = LazyLock::new(|| {
    let authority = Authority::of_even_lengths("root");
    let server = authority.server(&["localhost"]);
    (authority, server)
});

/// The side of all clients of a simulation. They share the sessions that they may resume.
#[derive(Debug)]
pub(crate) struct ClientSide(ClientTls);

/// The side of a server between its start and its end. It cannot resume sessions of an earlier one.
#[derive(Debug)]
pub(crate) struct ServerSide {
    tls: ServerTls,
    /// Its receivers are handshakes, which end with the server.
    is_up: watch::Sender<()>,
}

impl ClientSide {
    pub(crate) fn new() -> Self {
        let (authority, _) = &*CERTIFICATES;
        let roots = Pem::bytes(authority.root.as_bytes());
        let made = ClientTls::builder().roots(roots).build();
        Self(made.expect("the root is valid"))
    }

    /// # Errors
    ///
    /// The reason why the handshake failed.
    pub(crate) async fn connect(
        &self,
        end: End,
        time: Duration,
    ) -> Result<TransportWithFacts, String> {
        in_time(time, self.0.connect(end, "localhost")).await
    }
}

impl ServerSide {
    pub(crate) fn new() -> Self {
        let (_, server) = &*CERTIFICATES;
        let made = ServerTls::from_pem(server.certificate.as_bytes(), server.key.as_bytes());
        Self {
            tls: made.expect("the certificate is valid"),
            is_up: watch::Sender::new(()),
        }
    }

    /// # Errors
    ///
    /// The reason why the handshake failed.
    pub(crate) fn accept(
        &self,
        end: End,
        time: Duration,
    ) -> impl Future<Output = Result<TransportWithFacts, String>> + use<> {
        let (tls, mut is_up) = (self.tls.clone(), self.is_up.subscribe());
        async move {
            select! {
                biased;
                _ = is_up.changed() => Err("the server has been stopped".to_owned()),
                accepted = in_time(time, tls.accept(end)) => accepted,
            }
        }
    }
}

async fn in_time<T>(
    time: Duration,
    handshake: impl Future<Output = io::Result<T>>,
) -> Result<T, String> {
    let made = timeout(time, handshake).await;
    let made = made.map_err(|_| "the handshake of TLS took too long".to_owned())?;
    made.map_err(|error| error.to_string())
}
