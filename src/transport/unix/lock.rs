//! The lock of a path: a file beside it, which a server holds for as long as it listens there.
//!
//! ```text
//!   app.sock        the socket
//!   app.sock.lock   locked (flock) by the server that listens at it
//! ```
//!
//! Without the lock, if two servers find a stale socket at the same time, the slower one would remove the
//! socket that the faster one has just made. The system releases the lock when the process ends in any
//! way.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::transport::unix::file::{FileId, remove_if};

/// How often a server tries to take the lock, at most. An attempt is repeated only if another server
/// removed the lock file at that moment.
const MAX_TRIES: usize = 64;

/// The permissions of the lock file: processes of other users must not hold the lock.
const MODE: u32 = 0o600;

#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock for the path of a socket, without waiting for it.
    ///
    /// # Errors
    ///
    /// If another process holds it, or the file cannot be made.
    pub(super) fn take(socket: &Path) -> io::Result<Self> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let tries = (0..MAX_TRIES).map(|_| Self::try_take(&path, socket));
        first_taken(tries).unwrap_or_else(|| {
            let text = format!(
                "others take and leave the lock {} all the time",
                path.display()
            );
            Err(io::Error::new(ErrorKind::AddrInUse, text))
        })
    }

    /// Takes the lock once. `None` if its last holder removed the file after this process had opened it.
    /// A lock on a removed file keeps nobody out, since others make a new file.
    fn try_take(path: &Path, socket: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                return Err(taken(socket, path));
            }
            Err(error) => return Err(failed("lock", path, &error.into())),
        }
        let lock = Self {
            file,
            path: path.to_owned(),
        };
        Ok(lock.is_at_path().then_some(lock))
    }

    /// Whether the locked file is still the one at its path.
    fn is_at_path(&self) -> bool {
        let at_path = fs::symlink_metadata(&self.path).map(|file| FileId::of(&file));
        matches!((at_path, self.id()), (Ok(at_path), Ok(id)) if at_path == id)
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(FileId::of(&self.file.metadata()?))
    }
}

/// The first attempt that took the lock or failed; `None` if all of them met a removed file.
fn first_taken<L>(mut tries: impl Iterator<Item = io::Result<Option<L>>>) -> Option<io::Result<L>> {
    tries.find_map(Result::transpose)
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The file is removed while it is locked. A process that has opened it can lock it only after the
        // removal, and then sees that it is removed.
        let removed = self.id().and_then(|id| remove_if(&self.path, id));
        if let Err(error) = removed {
            let path = self.path.display();
            tracing::warn!(target: "wawo::transport", %error, %path, "cannot remove the lock of a socket");
        }
    }
}

/// Opens the lock file, and makes it if need be. It never follows a link, nor waits, as opening a named
/// pipe might. A file of another user is not used.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(MODE).custom_flags(flags.bits() as i32);
    let unfit = |text: &str| {
        let error = io::Error::new(ErrorKind::AlreadyExists, text);
        Err(failed("use", path, &error))
    };
    let file = match options.open(path) {
        Ok(file) => file,
        Err(_) if path.is_symlink() => return unfit("it is a symbolic link; remove it"),
        Err(error) => return Err(failed("open", path, &error)),
    };
    match file.metadata() {
        Ok(metadata) if !metadata.is_file() => unfit("it is no plain file"),
        // The lock file is removed at the end; a file with content belongs to somebody, and would be
        // lost.
        Ok(metadata) if metadata.len() > 0 => {
            let length = metadata.len();
            unfit(&format!(
                "it is a file of {length} bytes, and no lock: locks are empty; \
                 move it, or use another path for the socket"
            ))
        }
        Ok(_) => Ok(file),
        Err(error) => Err(failed("read", path, &error)),
    }
}

fn taken(socket: &Path, path: &Path) -> io::Error {
    let (socket, path) = (socket.display(), path.display());
    let text = format!("{socket} is taken: another server has the lock {path}");
    io::Error::new(ErrorKind::AddrInUse, text)
}

fn failed(what: &str, path: &Path, error: &io::Error) -> io::Error {
    let text = format!(
        "cannot {what} {}, the lock of the socket: {error}",
        path.display()
    );
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use super::{Lock, first_taken, open};

    #[test]
    fn a_lock_is_tried_until_it_is_taken_or_fails() {
        let removed = || Ok(None);
        let taken = first_taken([removed(), Ok(Some(7)), Ok(Some(8))].into_iter());
        assert_eq!(taken.unwrap().unwrap(), 7);
        let failed = || Err(io::ErrorKind::AddrInUse.into());
        assert!(first_taken::<i32>([removed(), failed()].into_iter()).is_some());
        assert!(first_taken::<i32>([removed(), removed()].into_iter()).is_none());
    }

    /// The file is opened while another holds the lock, who then releases and removes it.
    #[test]
    fn a_lock_file_that_was_removed_is_no_lock() {
        let name = format!("wawo-lock-{}", std::process::id());
        let socket = std::env::temp_dir().join(name);
        let lock = Lock::take(&socket).unwrap();
        let opened = open(&lock.path).unwrap();
        let path = lock.path.clone();
        drop(lock);
        assert!(!path.exists());
        let of_removed = Lock {
            file: opened,
            path: path.clone(),
        };
        let new = Lock::take(&socket).unwrap();
        assert!(!of_removed.is_at_path() && new.is_at_path());
        drop(of_removed);
        assert!(path.exists());
        drop(new);
        fs::symlink_metadata(path).unwrap_err();
    }
}
