//! The lock of a path: a file beside it, which a server holds for as long as it listens there.
//!
//! ```text
//!   app.sock        the socket
//!   app.sock.lock   locked (flock) by the server that listens at it
//! ```
//!
//! Without it, of two servers that find a stale socket at once, the slower would remove the socket
//! that the faster has just made. The system lets go of the lock when the process ends in any way.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::transport::unix::file::{FileId, remove_if};

/// Each try but the last met a server that removed the lock file at just that moment.
const MAX_TRIES: usize = 64;

/// Only our own user may hold up our own servers.
const MODE: u32 = 0o600;

#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of the path of a socket; does not wait for it.
    ///
    /// # Errors
    ///
    /// If another has it, or the file cannot be made.
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

    /// `None` if the file was removed by the one who had the lock, after we had opened it. To hold
    /// that file locks nobody out: others make a new one.
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

    /// Whether the file is still the one at its path.
    fn is_at_path(&self) -> bool {
        let at_path = fs::symlink_metadata(&self.path).map(|file| FileId::of(&file));
        matches!((at_path, self.id()), (Ok(at_path), Ok(id)) if at_path == id)
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(FileId::of(&self.file.metadata()?))
    }
}

/// The first try that took the lock or failed; `None` if all of them met a file that was removed.
fn first_taken<L>(mut tries: impl Iterator<Item = io::Result<Option<L>>>) -> Option<io::Result<L>> {
    tries.find_map(Result::transpose)
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked: who has opened the file by now cannot lock it before it is gone, and sees
        // that it is.
        let removed = self.id().and_then(|id| remove_if(&self.path, id));
        if let Err(error) = removed {
            let path = self.path.display();
            tracing::warn!(%error, %path, "cannot remove the lock of a socket");
        }
    }
}

/// Opens the lock file and makes it if need be. Never follows a link, nor waits, as a named pipe
/// would let it. A file of others is not used.
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
        // A lock is removed in the end, and what others have written would go with it.
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

    /// It was opened while another had the lock, who then left and removed it.
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
