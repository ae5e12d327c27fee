//! Listening at a Unix socket, whose file comes and goes with the listener.

use std::{
    fs, io,
    os::unix::{fs::FileTypeExt, net::UnixStream as StdStream},
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};

#[derive(Debug)]
pub(crate) struct Listener {
    path: PathBuf,
    listener: UnixListener,
}

impl Listener {
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        remove_stale(path)?;
        Ok(Self {
            path: path.to_owned(),
            listener: UnixListener::bind(path)?,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // If it is gone already, that is what was wanted.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes a socket that a process left behind: one that nothing listens at any more. Any other
/// file stays, and binding fails.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match StdStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Ok(()),
    }
}
