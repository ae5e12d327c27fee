//! Unix sockets: by path, whose file comes and goes with the listener, or by abstract name.

mod connect;
mod file;
mod lock;
mod user;

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use crate::transport::{
    address::{Address, MAX_PATH_BYTES},
    options::{AllowedUids, SocketOptions},
    socket::{backlog, check_listens},
    unix::{file::SocketFile, lock::Lock},
};

pub(crate) use crate::transport::unix::connect::connect;

/// Takes connections at one Unix socket.
#[derive(Debug)]
pub(crate) struct Listener {
    // Fields are dropped in this order. The file is first: while the socket is open, no other file can
    // get the number of its inode. The lock is last: as long as the file is there, it is held.
    _file: Option<SocketFile>,
    listener: UnixListener,
    _lock: Option<Lock>,
    address: Address,
    /// The users who may connect, for an abstract socket.
    uids: Option<AllowedUids>,
}

impl Listener {
    /// Listens at a path. A socket there that nothing listens at any more is replaced; any other
    /// file stays, and binding fails. Nothing of this blocks.
    pub(crate) fn bind(path: &Path, options: &SocketOptions) -> io::Result<Self> {
        let place = SocketPlace::at(path)?;
        let lock = Lock::take(&place.path)?;
        file::remove_stale(&place)?;
        let socket = new_socket()?;
        socket.bind(&place.address()?)?;
        let file = SocketFile::made_at(&place.path)?;
        // Before `listen`, so that at no time others than those of the mode can connect.
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

    /// Listens at an abstract name, which goes with the socket: there is no file.
    pub(crate) fn bind_abstract(name: &str, options: &SocketOptions) -> io::Result<Self> {
        let socket = new_socket()?;
        socket.bind(&SockAddr::unix(abstract_path(name)?)?)?;
        Self::new(listen(socket, options)?, options)
    }

    /// Takes connections at a socket that listens already. Its file is not ours: it stays.
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

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.listener.accept().await?;
        if let Some(uids) = &self.uids {
            user::check(&stream, uids, &self.address)?;
        }
        Ok(stream)
    }
}

/// The place of a socket file.
#[derive(Debug)]
struct SocketPlace {
    /// Absolute, so that it stays the same file when the process goes to another folder.
    path: PathBuf,
    /// As it is given to the system: the path as it was given to us if the absolute one is longer
    /// than a socket may have.
    short: PathBuf,
}

impl SocketPlace {
    fn at(path: &Path) -> io::Result<Self> {
        let absolute = std::path::absolute(path)?;
        let short = match absolute.as_os_str().len() {
            bytes if bytes > MAX_PATH_BYTES => path.to_owned(),
            _ => absolute.clone(),
        };
        let path = absolute;
        Ok(Self { path, short })
    }

    fn address(&self) -> io::Result<SockAddr> {
        SockAddr::unix(&self.short)
    }
}

fn new_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen(socket: Socket, options: &SocketOptions) -> io::Result<UnixListener> {
    socket.listen(backlog(options))?;
    UnixListener::from_std(OwnedFd::from(socket).into())
}

/// The path by which the system knows an abstract name.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_path(name: &str) -> io::Result<PathBuf> {
    Ok(PathBuf::from(format!("\0{name}")))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_path(_: &str) -> io::Result<PathBuf> {
    let text = "abstract sockets (unix://@name) need Linux; use unix:///path";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
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
