//! Connects to a named pipe, whose instances may all be in use for a while.

use std::io;

use tokio::net::windows::named_pipe::ClientOptions;

use crate::transport::{
    address::pipe_path, attempts::Attempts, busy::until_accepted, named_pipe::stream::PipeStream,
};

/// Connects, and tries again while no instance is free, until the caller drops the future. A server makes
/// a new instance whenever it accepts one, so a free one comes soon if it accepts at all.
pub(super) async fn connect(name: &str, attempts: &mut Attempts) -> io::Result<PipeStream> {
    let path = pipe_path(name)?;
    // The server may ask who this process is, and may not act as its user; that is tokio's default.
    let dial = async || ClientOptions::new().open(&path);
    let connected = until_accepted(dial, no_free_instance, attempts).await;
    connected.map(PipeStream::new).map_err(explained)
}

/// The code `ERROR_PIPE_BUSY`.
const PIPE_BUSY: i32 = 231;

fn no_free_instance(error: &io::Error) -> Option<&'static str> {
    (error.raw_os_error() == Some(PIPE_BUSY)).then_some("all instances of the pipe are in use")
}

fn explained(error: io::Error) -> io::Error {
    let text = match error.kind() {
        io::ErrorKind::NotFound => "nothing listens there",
        io::ErrorKind::PermissionDenied => "the pipe belongs to another user",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{text}: {error}"))
}
