//! Listens at a Unix socket.

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    task::{Context, Poll, ready},
};

use socket2::{SockAddr, SockRef, Socket};
use tokio::net::UnixListener;

use crate::transport::{
    Listener,
    address::Address,
    listen::AcceptedSocket,
    options::{AllowedUids, SocketOptions},
    socket::{backlog, check_listens},
    unix::{
        file::{self, SocketFile},
        lock::Lock,
        socket::{SocketPlace, abstract_path, new_socket},
        user,
    },
};

/// Accepts connections at one Unix socket.
#[derive(Debug)]
pub(crate) struct SocketListener {
    // Fields are dropped in this order. The file comes first: as long as the socket is open, no other
    // file can get its inode number, so that the check before the removal is right. The lock comes last:
    // it is held as long as the file exists.
    _file: Option<SocketFile>,
    listener: UnixListener,
    _lock: Option<Lock>,
    address: Address,
    /// The users who may connect, for an abstract socket.
    uids: Option<AllowedUids>,
}

impl SocketListener {
    /// Listens at a path. A stale socket there is replaced; any other file stays, and binding fails.
    /// Nothing here blocks.
    pub(crate) fn bind(path: &Path, options: &SocketOptions) -> io::Result<Self> {
        let place = SocketPlace::at(path)?;
        let lock = Lock::take(&place.path)?;
        file::remove_stale(&place)?;
        let socket = new_socket()?;
        socket.bind(&place.address()?)?;
        let file = SocketFile::made_at(&place.path)?;
        // The mode is set before `listen`, so that nobody without permission can connect in between.
        file.set_mode(options.unix_mode)?;
        let listener = listen(socket, options)?;
        Ok(Self {
            _file: Some(file),
            listener,
            _lock: Some(lock),
            address: Address::Unix(place.path),
            uids: None,
        })
    }

    /// Listens at an abstract name. It has no file, and vanishes with the socket.
    pub(crate) fn bind_abstract(name: &str, options: &SocketOptions) -> io::Result<Self> {
        let socket = new_socket()?;
        socket.bind(&SockAddr::unix(abstract_path(name)?)?)?;
        Self::new(listen(socket, options)?, options)
    }

    /// Accepts connections at a socket that listens already. Its file belongs to another process, and
    /// stays.
    pub(crate) fn new(listener: UnixListener, options: &SocketOptions) -> io::Result<Self> {
        let address = address_of(&listener.local_addr()?);
        check_listens(SockRef::from(&listener))?;
        let is_abstract = matches!(address, Address::Abstract(_));
        Ok(Self {
            _file: None,
            listener,
            _lock: None,
            address,
            uids: is_abstract.then(|| options.abstract_uids.clone()),
        })
    }
}

impl Listener for SocketListener {
    fn address(&self) -> io::Result<Address> {
        Ok(self.address.clone())
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<AcceptedSocket>> {
        let (stream, _) = ready!(self.listener.poll_accept(cx))?;
        if let Some(uids) = &self.uids {
            user::check(&stream, uids, &self.address)?;
        }
        Poll::Ready(Ok(AcceptedSocket::unix(stream, self.address.clone())))
    }
}

fn listen(socket: Socket, options: &SocketOptions) -> io::Result<UnixListener> {
    socket.listen(backlog(options))?;
    UnixListener::from_std(OwnedFd::from(socket).into())
}

fn address_of(address: &tokio::net::unix::SocketAddr) -> Address {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = address.as_abstract_name() {
        return Address::Abstract(String::from_utf8_lossy(name).into_owned());
    }
    Address::Unix(
        address
            .as_pathname()
            .map(Path::to_owned)
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests;
