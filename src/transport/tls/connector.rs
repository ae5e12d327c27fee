//! Connects by TLS over the connector of another scheme.

use std::{io, sync::Arc};

use crate::transport::{
    Address, Attempts, BoxFuture, Connect, SocketOptions, Transport, tls::ClientTls,
};

/// Opens a transport by another connector, and does the handshake of TLS over it.
pub(crate) struct TlsConnector {
    inner: Arc<dyn Connect>,
    /// `None`: that of the system.
    tls: Option<ClientTls>,
}

impl TlsConnector {
    pub(crate) fn new(inner: Arc<dyn Connect>, tls: Option<ClientTls>) -> Self {
        Self { inner, tls }
    }

    async fn tls(&self) -> io::Result<ClientTls> {
        if let Some(tls) = &self.tls {
            tls.refresh().await;
            return Ok(tls.clone());
        }
        let reading = tokio::task::spawn_blocking(ClientTls::of_system);
        let read = reading.await.map_err(io::Error::other)?;
        read.map_err(io::Error::other)
    }
}

impl Connect for TlsConnector {
    fn scheme(&self) -> &str {
        "tls"
    }

    fn connect<'a>(
        &'a self,
        address: &'a Address,
        options: &'a SocketOptions,
        attempts: &'a mut Attempts,
    ) -> BoxFuture<'a, io::Result<Box<dyn Transport>>> {
        Box::pin(async move {
            let Address::Tls(below) = address else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            let tls = self.tls().await?;
            let name = tls.name_for(below)?;
            let transport = self.inner.connect(below, options, attempts).await?;
            *attempts = Attempts::connected("the handshake of TLS did not end");
            let transport = tls.handshake(transport, name, Some(below)).await?;
            Ok(Box::new(transport) as Box<dyn Transport>)
        })
    }
}
