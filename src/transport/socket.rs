//! Helpers for sockets of any kind.

use std::io;

use socket2::SockRef;

use crate::transport::options::SocketOptions;

/// The backlog in the type that the system takes.
pub(super) fn backlog(options: &SocketOptions) -> i32 {
    options.backlog.try_into().unwrap_or(i32::MAX)
}

/// Fails for a socket that does not listen, as accepting there would fail each time.
pub(super) fn check_listens(socket: SockRef<'_>) -> io::Result<()> {
    // Other systems have no way to ask.
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    if !socket.is_listener()? {
        let text = "the socket does not listen; `listen` it first";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let _ = socket;
    Ok(())
}
