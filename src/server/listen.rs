//! The addresses and sockets at which a server listens.

use std::{io, sync::Arc};

use crate::{
    server::{ServeError, Server, check_runtime, listeners::ListeningPlace, log, new_socket::Wrap},
    transport::{Address, AddressError, Listener, OpenListener, Transport},
};

impl Server {
    /// Listens at one more [`Address`]: its text, such as `tcp://127.0.0.1:0`, or a
    /// [`SocketAddr`](std::net::SocketAddr).
    ///
    /// For a name, it listens at each of the name's addresses that this machine has, all at one port;
    /// `localhost` is `127.0.0.1` and `[::1]`. `tcp://[::]:port` accepts connections over IPv4 too, whose
    /// peers have IPv4 addresses. [`SocketOptions`](crate::SocketOptions) has the backlog and the
    /// permissions of Unix sockets.
    ///
    /// A Unix socket that an ended process left behind is replaced; the server removes its own at the
    /// end. The server holds a lock on a file beside it, whose name has `.lock` added. Unix sockets are Unix
    /// only, and named pipes (`pipe://name`) Windows only.
    ///
    /// # Errors
    ///
    /// If the text is not an address, or the address is taken: one of the addresses of a name, or the
    /// path of a Unix socket, by a process that listens there or by any other file; or the name of a pipe, by
    /// a process that listens there or has connections from there. Also if the server drains
    /// already, and outside of a tokio runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has no I/O, or for a named pipe no timers: build it with `enable_all`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server does not listen there.
    pub async fn bind<A>(&mut self, address: A) -> Result<(), ServeError>
    where
        A: TryInto<Address, Error: Into<AddressError>>,
    {
        let address = address.try_into().map_err(Into::into)?;
        self.listen(address, None).await
    }

    /// Listens at one more address, and wraps each transport that is accepted there: in TLS, or in a
    /// [`CustomProtocol`](crate::CustomProtocol) that speaks a protocol of your own.
    ///
    /// `wrap` must not wait for the other side; the transport that it returns does that when it is read.
    /// A panic in it ends only that connection, and is reported by
    /// [`PeerEvent::AcceptFailed`](crate::PeerEvent::AcceptFailed).
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Panics
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_with<A, T: Transport>(
        &mut self,
        address: A,
        wrap: impl Fn(Box<dyn Transport>) -> T + Send + Sync + 'static,
    ) -> Result<(), ServeError>
    where
        A: TryInto<Address, Error: Into<AddressError>>,
    {
        let address = address.try_into().map_err(Into::into)?;
        let wrap = move |transport| Box::new(wrap(transport)) as Box<dyn Transport>;
        self.listen(address, Some(Arc::new(wrap))).await
    }

    /// Listens at a socket that is open already: a `TcpListener` or, on Unix, a `UnixListener`, of the
    /// standard library or of tokio; or at a [`Listener`] of your own, by [`OpenListener::new`]. Other
    /// processes that hold the socket may go on to accept there.
    ///
    /// So systemd or another process may open the socket (*socket activation*), and a new process may
    /// take over while the old one [drains](crate::ServerHandle::drain): as long as one of them holds the
    /// socket, connections wait in it, and none is refused. The file of such a Unix socket stays when the
    /// server ends. The [`backlog`](crate::SocketOptions::backlog) and
    /// [`unix_mode`](crate::SocketOptions::unix_mode) are those of the socket; the other options apply.
    ///
    /// With systemd the sockets are those from file descriptor 3 on, and `LISTEN_FDS` says how many:
    ///
    /// ```no_run
    /// # #[cfg(unix)]
    /// # async fn serve(chat: impl wawo::Serve) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{net::TcpListener, os::fd::{FromRawFd, OwnedFd}};
    ///
    /// let count: i32 = std::env::var("LISTEN_FDS")?.parse()?;
    /// let mut server = wawo::Server::builder().add_service(chat).build()?;
    /// for fd in 3..3 + count {
    ///     // SAFETY: systemd opened it for this process, and nothing else here has it.
    ///     let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    ///     server.listen_on(TcpListener::from(socket))?;
    /// }
    /// server.run().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// `LISTEN_PID`, if it is set, must be the id of this process; the crate `listenfd` checks that.
    /// `docs/sockets.md` shows how one process hands its socket to the next, and
    /// `cargo run --example takeover` does it.
    ///
    /// # Errors
    ///
    /// If the socket is of another kind than its type says, if it does not listen, or if the server
    /// drains already; and outside of a tokio runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has no I/O.
    pub fn listen_on(&mut self, listener: impl Into<OpenListener>) -> Result<(), ServeError> {
        self.open(listener.into(), None)
    }

    /// Listens at a socket that is open already, and wraps each transport that is accepted there, as
    /// [`bind_with`](Self::bind_with) does.
    ///
    /// # Errors
    ///
    /// As [`listen_on`](Self::listen_on).
    ///
    /// # Panics
    ///
    /// As [`listen_on`](Self::listen_on).
    pub fn listen_on_with<T: Transport>(
        &mut self,
        listener: impl Into<OpenListener>,
        wrap: impl Fn(Box<dyn Transport>) -> T + Send + Sync + 'static,
    ) -> Result<(), ServeError> {
        let wrap = move |transport| Box::new(wrap(transport)) as Box<dyn Transport>;
        self.open(listener.into(), Some(Arc::new(wrap)))
    }

    /// The addresses that the server listens at, in the order of `bind`; a port 0 is replaced by the port
    /// that was chosen. A name with several addresses, such as `localhost`, has an entry for each.
    pub fn addresses(&self) -> Vec<Address> {
        self.addresses.clone()
    }

    async fn listen(&mut self, address: Address, wrap: Option<Wrap>) -> Result<(), ServeError> {
        check_runtime()?;
        let listen = match self.listen_schemes.find(&address) {
            Ok(listen) => listen,
            Err(advice) => return Err(ServeError::NoListener { address, advice }),
        };
        let (below, is_tls) = match &address {
            Address::Tls(below) if listen.scheme() != address.scheme() => (&**below, true),
            address => (address, false),
        };
        if is_tls {
            self.shared.check_tls(below)?;
        }
        let listeners = listen.listen(below, &self.socket_options).await;
        let listeners = listeners.and_then(|listeners| match listeners.is_empty() {
            true => Err(io::Error::other("its `Listen` returned no listener")),
            false => Ok(listeners),
        });
        let listeners = listeners.map_err(|source| ServeError::Bind { address, source })?;
        listeners
            .into_iter()
            .try_for_each(|listener| self.add(listener, wrap.clone(), is_tls))
    }

    fn open(&mut self, listener: OpenListener, wrap: Option<Wrap>) -> Result<(), ServeError> {
        check_runtime()?;
        let is_tls = listener.is_tls();
        let listener = listener.into_listener(&self.socket_options);
        let listener = listener.map_err(ServeError::OpenListener)?;
        if is_tls && self.shared.tls().is_none() {
            let text = "it takes TLS, and the server has no certificate: give it one by `ServerBuilder::tls`";
            return Err(ServeError::OpenListener(io::Error::other(text)));
        }
        self.add(listener, wrap, is_tls)
    }

    fn add(
        &mut self,
        listener: Box<dyn Listener>,
        wrap: Option<Wrap>,
        is_tls: bool,
    ) -> Result<(), ServeError> {
        let address = listener.address().ok();
        let address = address.map(|address| match is_tls {
            true => Address::Tls(Box::new(address)),
            false => address,
        });
        self.shared.listen(ListeningPlace {
            listener,
            wrap,
            is_tls,
        })?;
        if let Some(address) = address {
            log::listening(&address, &self.shared.services.descriptors());
            self.addresses.push(address);
        }
        Ok(())
    }
}
