//! The file of a Unix socket. Only the own file is removed, and a stale one, at which nothing listens any
//! more.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::transport::unix::socket::{SocketPlace, new_socket};

/// The file that this process made by binding a socket. Dropping it removes the file, unless another file
/// is at its path by now.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    id: FileId,
}

/// The device and the inode of a file. Two files that exist at the same time never have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

impl FileId {
    pub(super) fn of(file: &fs::Metadata) -> Self {
        Self(file.dev(), file.ino())
    }
}

impl SocketFile {
    /// The file of the socket that was just bound at a path.
    pub(super) fn made_at(path: &Path) -> io::Result<Self> {
        let file = fs::symlink_metadata(path)?;
        if !file.file_type().is_socket() {
            return Err(refused(path, "was replaced while the socket was bound"));
        }
        let (path, id) = (path.to_owned(), FileId::of(&file));
        Ok(Self { path, id })
    }

    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = remove_if(&self.path, self.id) {
            let path = self.path.display();
            tracing::warn!(target: "wawo::transport", %error, %path, "cannot remove the file of a socket");
        }
    }
}

/// Removes a file if it still has this id.
pub(super) fn remove_if(path: &Path, id: FileId) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(file) if FileId::of(&file) == id => fs::remove_file(path),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        // The file was removed, or another file is in its place, which is not ours to remove.
        _ => Ok(()),
    }
}

/// Removes a stale socket, which a process left behind and at which nothing listens. The caller holds the
/// lock of the path, so that no two processes do this at once.
///
/// # Errors
///
/// If another file is at the path; it stays.
pub(super) fn remove_stale(place: &SocketPlace) -> io::Result<()> {
    let path = &place.path;
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let kind = file.file_type();
    if kind.is_symlink() {
        return Err(refused(
            path,
            "is a symbolic link: remove it, or name its target",
        ));
    }
    if kind.is_dir() {
        return Err(refused(path, "is a folder: name a file in it"));
    }
    if !kind.is_socket() {
        return Err(refused(path, "is a file and no socket: it stays as it is"));
    }
    match knock(place) {
        Knock::Stale => remove_if(path, FileId::of(&file)),
        Knock::Gone => Ok(()),
        Knock::Taken(reason) => Err(io::Error::new(
            ErrorKind::AddrInUse,
            format!("{} {reason}", path.display()),
        )),
    }
}

fn refused(path: &Path, reason: &str) -> io::Error {
    let text = format!("{} {reason}", path.display());
    io::Error::new(ErrorKind::AlreadyExists, text)
}

/// The state of a socket file.
#[derive(Debug, PartialEq, Eq)]
enum Knock {
    /// Nothing listens there.
    Stale,
    /// There is no file any more.
    Gone,
    Taken(String),
}

/// Finds out whether something listens at a socket file, by a connection that is closed at once. It does
/// not wait for a reply, because a stopped process never gives one.
fn knock(place: &SocketPlace) -> Knock {
    let connected = new_socket().and_then(|socket| socket.connect(&place.address()?));
    match connected {
        Ok(()) => Knock::Taken("is taken: a process listens there".to_owned()),
        Err(error) => judge(&error),
    }
}

fn judge(error: &io::Error) -> Knock {
    let taken = |text: &str| Knock::Taken(text.to_owned());
    // macOS and the BSDs report the same for a listener whose backlog is full. The lock distinguishes a
    // wawo server from that.
    match error.kind() {
        ErrorKind::ConnectionRefused => Knock::Stale,
        ErrorKind::NotFound => Knock::Gone,
        ErrorKind::WouldBlock => {
            taken("is taken: a process listens there, and does not accept (its backlog is full)")
        }
        _ if error.raw_os_error() == Some(WRONG_TYPE) => {
            taken("is taken: a process has a socket of another type there")
        }
        _ => Knock::Taken(format!(
            "may be taken: cannot find out whether a process listens there: {error}"
        )),
    }
}

/// The error of a socket for datagrams or sequenced packets at the path.
const WRONG_TYPE: i32 = rustix::io::Errno::PROTOTYPE.raw_os_error();
