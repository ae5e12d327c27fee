//! Unix sockets and their paths, in the form that the system takes.

use std::{
    io,
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::transport::address::MAX_PATH_BYTES;

/// The place of a socket file.
#[derive(Debug)]
pub(super) struct SocketPlace {
    /// The absolute path, so that it names the same file after the process has changed its folder.
    pub(super) path: PathBuf,
    /// The path for the system calls: the given path, if the absolute one is longer than `sun_path`
    /// allows.
    short: PathBuf,
}

impl SocketPlace {
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let absolute = std::path::absolute(path)?;
        let short = match absolute.as_os_str().len() {
            bytes if bytes > MAX_PATH_BYTES => path.to_owned(),
            _ => absolute.clone(),
        };
        let path = absolute;
        Ok(Self { path, short })
    }

    pub(super) fn address(&self) -> io::Result<SockAddr> {
        SockAddr::unix(&self.short)
    }
}

pub(super) fn new_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The path by which the system knows an abstract name.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn abstract_path(name: &str) -> io::Result<PathBuf> {
    Ok(PathBuf::from(format!("\0{name}")))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn abstract_path(_: &str) -> io::Result<PathBuf> {
    let text = "abstract sockets (unix://@name) need Linux; use unix:///path";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}
