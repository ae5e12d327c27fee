//! Another user of the machine connects to a Unix socket. The tests need root, and say so where they have not got
//! it.

use std::{
    fs,
    io::{self, ErrorKind, Write as _},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use rustix::{
    process::{Uid, geteuid},
    thread::set_thread_res_uid,
};
use tokio::task::JoinHandle;
use wawo::{ConnectError, Peer, Presented, Refusal, Server, transport::SocketOptions};

use crate::support::{EchoClient, EchoServer, Parrot, message};

/// That of `nobody` on most systems. No account needs to exist.
const OTHER: u32 = 65534;

/// A folder that other users may enter. It is removed after the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("wawo-other-user-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("a.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether this process may act as another user.
fn is_root(test: &str) -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        // Not through a macro: the output of macros is captured.
        let line = format!("SKIPPED {test}: only root can act as another user\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
    }
    is_root
}

/// Connects as the other user. On Linux each thread has a user of its own; a thread that gives up root also loses
/// the right to open all files.
fn connect_as_other(path: &Path) -> io::Result<UnixStream> {
    let path = path.to_owned();
    let thread = thread::spawn(move || {
        let (root, other) = (Uid::ROOT, Uid::from_raw(OTHER));
        set_thread_res_uid(root, other, root).expect("root may act as another user");
        UnixStream::connect(path)
    });
    thread.join().unwrap()
}

/// The users that an authenticator has seen. It lets in that of this process only.
type Seen = Arc<Mutex<Vec<Option<u32>>>>;

/// Serves with this mode of the socket.
async fn serve(path: &Path, options: SocketOptions) -> (JoinHandle<()>, Seen) {
    let (own, seen) = (geteuid().as_raw(), Seen::default());
    let kept = seen.clone();
    let own_only = move |presented: Presented| {
        let user = presented.unix_user();
        kept.lock().unwrap().push(user);
        async move {
            match user == Some(own) {
                true => Ok(()),
                false => Err(Refusal::new("another user")),
            }
        }
    };
    let server = Server::builder()
        .socket_options(options)
        .authenticate(own_only)
        .add_service(EchoServer::new(Parrot::default()));
    let address = format!("unix://{}", path.display());
    let server = server.bind(&*address).await.unwrap();
    (tokio::spawn(async { server.run().await.unwrap() }), seen)
}

async fn assert_serves_own_user(path: &Path) {
    let address = format!("unix://{}", path.display());
    let peer = Peer::connect(&*address).await.unwrap();
    let reply = EchoClient::new(&peer).say(message("hi")).await.unwrap();
    assert_eq!(reply.data, "hi");
}

#[tokio::test]
async fn the_mode_of_the_socket_keeps_another_user_out() {
    if !is_root("the_mode_of_the_socket_keeps_another_user_out") {
        return;
    }
    let folder = Folder::new("mode");
    let (running, seen) = serve(&folder.socket(), SocketOptions::new()).await;
    let error = connect_as_other(&folder.socket()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert_serves_own_user(&folder.socket()).await;
    assert_eq!(*seen.lock().unwrap(), [Some(0)], "the other was never seen");
    running.abort();
}

#[tokio::test]
async fn an_authenticator_refuses_another_user_whom_the_mode_lets_in() {
    if !is_root("an_authenticator_refuses_another_user_whom_the_mode_lets_in") {
        return;
    }
    let folder = Folder::new("authenticator");
    let (running, seen) = serve(&folder.socket(), SocketOptions::new().unix_mode(0o666)).await;
    let other = connect_as_other(&folder.socket()).unwrap();
    let error = Peer::builder("").connect_over(other).await.unwrap_err();
    let ConnectError::Unauthenticated { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(reason, "another user");
    assert_serves_own_user(&folder.socket()).await;
    assert_eq!(*seen.lock().unwrap(), [Some(OTHER), Some(0)]);
    running.abort();
}
