//! Tests with Unix sockets of the system, in a folder for each test.

use std::{
    fs,
    io::ErrorKind,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt, symlink},
        net::{UnixDatagram, UnixListener as StdListener},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::runtime::Handle;

use super::SocketListener;
use crate::transport::{Listener, options::SocketOptions};

/// A folder that is removed after the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("wawo-unix-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("a.sock")
    }

    fn lock(&self) -> PathBuf {
        self.0.join("a.sock.lock")
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(&self.0).unwrap().next().is_none()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn bind(path: &Path) -> std::io::Result<SocketListener> {
    SocketListener::bind(path, &SocketOptions::new())
}

#[track_caller]
fn assert_refused(path: &Path, kind: ErrorKind, text: &str) {
    let error = bind(path).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

#[tokio::test]
async fn the_files_come_and_go_with_the_listener() {
    let folder = Folder::new("come-and-go");
    let listener = bind(&folder.socket()).unwrap();
    assert!(is_socket(&folder.socket()) && folder.lock().is_file());
    drop(listener);
    assert!(folder.is_empty());
    // A lock file that a killed process left behind is not locked.
    fs::write(folder.lock(), "").unwrap();
    drop(bind(&folder.socket()).unwrap());
    assert!(folder.is_empty());
}

#[tokio::test]
async fn the_mode_is_0600_or_as_set() {
    let folder = Folder::new("mode");
    for (options, expected) in [
        (SocketOptions::new(), 0o600),
        (SocketOptions::new().unix_mode(0o666), 0o666),
        (SocketOptions::new().unix_mode(0), 0),
    ] {
        let listener = SocketListener::bind(&folder.socket(), &options).unwrap();
        let mode = fs::metadata(folder.socket()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, expected);
        let lock = fs::metadata(folder.lock()).unwrap().permissions().mode();
        assert_eq!(lock & 0o077, 0);
        drop(listener);
    }
}

#[tokio::test]
async fn a_listener_removes_no_file_that_took_the_place_of_its_own() {
    let folder = Folder::new("replaced");
    let path = folder.socket();
    let listener = bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    drop(listener);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    fs::remove_file(&path).unwrap();
    let listener = bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let _another = StdListener::bind(&path).unwrap();
    drop(listener);
    assert!(is_socket(&path));
}

#[tokio::test]
async fn a_path_is_made_absolute_so_that_it_stays_the_same_file() {
    let folder = Folder::new("relative");
    let here = std::env::current_dir().unwrap();
    let to_root = "../".repeat(here.components().count() - 1);
    let socket = folder.socket();
    let relative = Path::new(&to_root).join(socket.strip_prefix("/").unwrap());
    let listener = bind(&relative).unwrap();
    let absolute = here.join(&relative);
    let expected = format!("unix://{}", absolute.display());
    assert_eq!(listener.address().unwrap().to_string(), expected);
    drop(listener);
    assert!(folder.is_empty());
}

#[tokio::test]
async fn only_a_stale_socket_is_replaced() {
    let folder = Folder::new("stale");
    let path = folder.socket();
    drop(StdListener::bind(&path).unwrap());
    drop(bind(&path).unwrap());

    fs::write(&path, "precious").unwrap();
    assert_refused(&path, ErrorKind::AlreadyExists, "no socket");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();

    fs::create_dir(&path).unwrap();
    assert_refused(&path, ErrorKind::AlreadyExists, "folder");
    fs::remove_dir(&path).unwrap();

    let target = folder.0.join("target");
    for exists in [false, true] {
        if exists {
            drop(StdListener::bind(&target).unwrap());
        }
        symlink(&target, &path).unwrap();
        assert_refused(&path, ErrorKind::AlreadyExists, "symbolic link");
        assert_eq!(fs::read_link(&path).unwrap(), target);
        fs::remove_file(&path).unwrap();
    }

    let _datagrams = UnixDatagram::bind(&path).unwrap();
    assert_refused(&path, ErrorKind::AddrInUse, "another type");
    assert!(is_socket(&path));
    assert!(!folder.lock().exists());
}

#[tokio::test]
async fn a_live_socket_is_not_replaced() {
    let folder = Folder::new("live");
    let ours = bind(&folder.socket()).unwrap();
    let text = "another server has the lock";
    assert_refused(&folder.socket(), ErrorKind::AddrInUse, text);
    drop(ours);
    let _theirs = StdListener::bind(folder.socket()).unwrap();
    let text = "a process listens there";
    assert_refused(&folder.socket(), ErrorKind::AddrInUse, text);
    assert!(is_socket(&folder.socket()));
}

/// A blocking connect would wait here for ever.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_process_that_does_not_accept_is_told_of_at_once() {
    let folder = Folder::new("stuck");
    let options = SocketOptions::new().backlog(1);
    let stuck = super::new_socket().unwrap();
    let address = socket2::SockAddr::unix(folder.socket()).unwrap();
    stuck.bind(&address).unwrap();
    let stuck = super::listen(stuck, &options).unwrap();
    let mut waiting = Vec::new();
    // Linux keeps one connection more than the backlog.
    for _ in 0..2 {
        let socket = super::new_socket().unwrap();
        socket.connect(&address).unwrap();
        waiting.push(socket);
    }
    assert_refused(&folder.socket(), ErrorKind::AddrInUse, "backlog is full");
    drop(stuck);
}

#[tokio::test]
async fn a_lock_that_is_no_plain_file_is_refused() {
    let folder = Folder::new("lock");
    symlink(folder.0.join("target"), folder.lock()).unwrap();
    let error = bind(&folder.socket()).unwrap_err().to_string();
    assert!(error.contains("it is a symbolic link"), "{error}");
    assert!(!folder.0.join("target").exists());
    fs::remove_file(folder.lock()).unwrap();

    fs::create_dir(folder.lock()).unwrap();
    let error = bind(&folder.socket()).unwrap_err().to_string();
    assert!(error.starts_with("cannot open"), "{error}");
    fs::remove_dir(folder.lock()).unwrap();

    let _socket = StdListener::bind(folder.lock()).unwrap();
    let error = bind(&folder.socket()).unwrap_err().to_string();
    assert!(error.starts_with("cannot open"), "{error}");
}

#[tokio::test]
async fn a_file_in_the_place_of_the_lock_that_holds_something_is_left_alone() {
    let folder = Folder::new("foreign-lock");
    fs::write(folder.lock(), "notes").unwrap();
    let error = bind(&folder.socket()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let text = error.to_string();
    assert!(text.contains("a file of 5 bytes, and no lock"), "{text}");
    assert_eq!(fs::read(folder.lock()).unwrap(), b"notes");
    assert!(!folder.socket().exists());
}

/// Opening a pipe for writing would otherwise wait for a reader.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_pipe_in_the_place_of_the_lock_holds_up_nobody() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let folder = Folder::new("pipe");
    mknodat(CWD, folder.lock(), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let error = bind(&folder.socket()).unwrap_err().to_string();
    assert!(error.contains("no plain file"), "{error}");
}

/// All servers begin with a stale socket, and each that succeeds stops again. So the lock is taken and
/// released while others are about to take it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_servers_that_bind_at_once_never_two_listen() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 200;

    let folder = Folder::new("at-once");
    let path = Arc::new(folder.socket());
    drop(StdListener::bind(&*path).unwrap());
    let (listening, succeeded) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let begin = Arc::new(Barrier::new(THREADS));
    let threads = (0..THREADS).map(|_| {
        let (path, listening, succeeded) = (path.clone(), listening.clone(), succeeded.clone());
        let (begin, runtime) = (begin.clone(), Handle::current());
        thread::spawn(move || {
            let _runtime = runtime.enter();
            begin.wait();
            for _ in 0..ROUNDS {
                match bind(&path) {
                    Ok(listener) => {
                        assert_eq!(listening.fetch_add(1, Ordering::SeqCst), 0);
                        assert!(is_socket(&path));
                        succeeded.fetch_add(1, Ordering::SeqCst);
                        listening.fetch_sub(1, Ordering::SeqCst);
                        drop(listener);
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}"),
                }
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    let results = tokio::task::spawn_blocking(|| threads.into_iter().map(thread::JoinHandle::join));
    assert!(results.await.unwrap().all(|result| result.is_ok()));
    assert!(succeeded.load(Ordering::SeqCst) > 0);
    assert!(folder.is_empty());
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod abstract_names {
    use std::io::ErrorKind;

    use rustix::process::geteuid;

    use crate::transport::{
        Listener,
        address::Address,
        attempts::Attempts,
        listen::accept,
        options::SocketOptions,
        unix::{connect::connect, listener::SocketListener},
    };

    fn name(test: &str) -> String {
        format!("wawo-{test}-{}", std::process::id())
    }

    async fn connect_to(name: &str, options: &SocketOptions) -> std::io::Result<()> {
        let address = Address::Abstract(name.to_owned());
        let stream = connect(&address, options, &mut Attempts::default()).await;
        stream.map(drop)
    }

    #[tokio::test]
    async fn an_abstract_name_is_listened_at_while_its_listener_lives() {
        let (name, options) = (name("lives"), SocketOptions::new());
        let mut listener = SocketListener::bind_abstract(&name, &options).unwrap();
        assert_eq!(
            listener.address().unwrap().to_string(),
            format!("unix://@{name}")
        );
        let error = SocketListener::bind_abstract(&name, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        connect_to(&name, &options).await.unwrap();
        accept(&mut listener).await.unwrap();
        drop(listener);
        let error = connect_to(&name, &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn users_who_are_not_allowed_are_refused_at_both_ends() {
        let (name, own) = (name("users"), SocketOptions::new());
        let others = SocketOptions::new().abstract_uids([geteuid().as_raw() + 1]);
        let mut listener = SocketListener::bind_abstract(&name, &others).unwrap();
        connect_to(&name, &own).await.unwrap();
        let error = accept(&mut listener).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let expected = format!(
            "user {} is not allowed at unix://@{name} (abstract_uids)",
            geteuid().as_raw()
        );
        assert_eq!(error.to_string(), expected);
        let error = connect_to(&name, &others).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
