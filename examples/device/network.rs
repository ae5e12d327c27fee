//! A network between the devices and the server, which can be cut.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use wawo::Address;

/// Carries connections to the server of today.
pub(crate) struct Network {
    address: String,
    server: Mutex<String>,
    cut: Notify,
}

impl Network {
    pub(crate) async fn to(server: &Address) -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let network = Arc::new(Self {
            address: format!("tcp://{}", listener.local_addr()?),
            server: Mutex::default(),
            cut: Notify::new(),
        });
        network.lead_to(server);
        let accepting = network.clone();
        tokio::spawn(async move {
            while let Ok((device, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().carry(device));
            }
        });
        Ok(network)
    }

    /// The address that devices dial.
    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// Carries new connections to this server.
    pub(crate) fn lead_to(&self, server: &Address) {
        let address = server.to_string().replace("tcp://", "");
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Ends all connections at once.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }

    async fn carry(self: Arc<Self>, mut device: TcpStream) -> io::Result<()> {
        let address = self
            .server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut server = TcpStream::connect(address).await?;
        tokio::select! {
            _ = copy_bidirectional(&mut device, &mut server) => {}
            () = self.cut.notified() => {}
        }
        Ok(())
    }
}
