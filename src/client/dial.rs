//! Opens the connections of a peer: the same way for the first and for each that follows.

use std::sync::Arc;

use crate::{
    client::{error::ConnectError, handshake::Handshake},
    connection,
    peer::{Dial, NewConnection},
    transport::{Address, Attempts, Connect, Connectors, SocketOptions},
};

/// Opens connections to one address.
pub(super) struct Dialler {
    pub(super) address: Address,
    pub(super) connectors: Connectors,
    pub(super) options: SocketOptions,
    pub(super) handshake: Handshake,
}

/// How often a dial tries again, if the server drains. Such a server closes connections that it has just
/// accepted, while another may have taken its place. A dial meets one draining server, or two in a row;
/// more are a fault, which should show.
const MAX_DRAINED: usize = 3;

impl Dialler {
    /// # Errors
    ///
    /// If there is no connector for the address, or an option of the socket is out of its range.
    pub(super) fn check(&self) -> Result<(), ConnectError> {
        self.options.check()?;
        self.connector(&self.address).map(drop)
    }

    fn connector(&self, address: &Address) -> Result<Arc<dyn Connect>, ConnectError> {
        let found = self.connectors.find(address);
        found.map_err(|advice| ConnectError::NoConnector {
            address: address.clone(),
            advice,
        })
    }

    async fn open(
        &self,
        address: &Address,
        attempts: &mut Attempts,
    ) -> Result<NewConnection, ConnectError> {
        let connector = self.connector(address)?;
        let mut drained = 0;
        loop {
            match self.open_once(&*connector, address, attempts).await {
                Err(ConnectError::Hello { source, .. })
                    if drained < MAX_DRAINED && connection::ended_by_drain(&source) =>
                {
                    drained += 1;
                }
                result => return result,
            }
        }
    }

    async fn open_once(
        &self,
        connector: &dyn Connect,
        address: &Address,
        attempts: &mut Attempts,
    ) -> Result<NewConnection, ConnectError> {
        *attempts = Attempts::before_credentials();
        let credentials = self.handshake.credentials().await?;
        *attempts = Attempts::default();
        let transport = connector.connect(address, &self.options, attempts).await;
        let transport = transport.map_err(|source| ConnectError::of_transport(address, source))?;
        // The socket is connected. A later error, such as a missing hello, is not about the attempts before.
        *attempts = Attempts::connected("no hello came");
        self.handshake
            .run(transport, credentials, Some(address))
            .await
    }
}

impl Dial for Dialler {
    type Error = ConnectError;

    async fn dial(&self, elsewhere: Option<&Address>) -> Result<NewConnection, ConnectError> {
        let address = elsewhere.unwrap_or(&self.address);
        let (timeout, mut attempts) =
            (self.handshake.config.connect_timeout(), Attempts::default());
        // If both times are over, this one says more than the timeout of the handshake.
        tokio::select! {
            biased;
            () = tokio::time::sleep(timeout) => {}
            result = self.open(address, &mut attempts) => return result,
        }
        Err(ConnectError::TimedOut {
            address: address.clone(),
            timeout,
            attempts: attempts.to_string(),
        })
    }

    fn may_move_to(&self, elsewhere: &Address) -> bool {
        is_same_kind(&self.address, elsewhere)
    }
}

/// Whether two addresses are of the same kind. So a server sends no client from TLS to plain text, nor from
/// TCP to a socket or a pipe of the client's machine.
fn is_same_kind(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Tls(one), Address::Tls(other)) => is_same_kind(one, other),
        (one, other) => one.scheme() == other.scheme(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, is_same_kind};

    #[test]
    fn a_server_sends_clients_to_addresses_of_their_kind_only() {
        for (from, to, may) in [
            ("tcp://a:1", "tcp://10.0.0.1:2", true),
            ("tls://a:1", "tls://b:2", true),
            ("tls://a:1", "tcp://a:1", false),
            ("tcp://a:1", "tls://a:1", false),
            ("tls://a:1", "tls+mem://a", false),
            ("tcp://a:1", "pipe://a", false),
            ("mem://a", "mem://b", true),
            ("own://a", "other://a", false),
        ] {
            let [one, other] = [from, to].map(|text| text.parse::<Address>().unwrap());
            assert_eq!(is_same_kind(&one, &other), may, "{from} {to}");
        }
    }
}
