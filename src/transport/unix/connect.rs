//! Connects to a Unix socket, whose backlog may be full for a while.

use std::{io, path::Path};

use tokio::net::UnixStream;

use crate::transport::{
    address::Address,
    attempts::Attempts,
    busy::until_accepted,
    options::SocketOptions,
    unix::{socket::abstract_path, user},
};

/// Connects, and tries again while the backlog is full, until the caller drops the future.
///
/// It tries again on Linux only: other systems report a full backlog as if nothing listened.
pub(crate) async fn connect(
    address: &Address,
    options: &SocketOptions,
    attempts: &mut Attempts,
) -> io::Result<UnixStream> {
    match address {
        Address::Abstract(name) => {
            let path = abstract_path(name)?;
            let stream = connect_at(&path, attempts).await?;
            user::check(&stream, &options.abstract_uids, address)?;
            Ok(stream)
        }
        Address::Unix(path) => connect_at(path, attempts).await,
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

async fn connect_at(path: &Path, attempts: &mut Attempts) -> io::Result<UnixStream> {
    until_accepted(|| UnixStream::connect(path), full_backlog, attempts).await
}

fn full_backlog(error: &io::Error) -> Option<&'static str> {
    (error.kind() == io::ErrorKind::WouldBlock).then_some("its backlog is full")
}
