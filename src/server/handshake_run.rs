//! Runs a handshake, or a part of it, and tells the server how far it has come.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use crate::server::{
    handshake_request::{Ask, Progress},
    registry::ConnectionPlace,
};

/// Polls a handshake until it is done.
///
/// # Errors
///
/// If the socket has to leave, because the server asked it to.
pub(crate) async fn run<T>(
    place: &ConnectionPlace,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<Progress<T>>,
) -> Result<T, Ask> {
    let mut is_fresh = true;
    poll_fn(|cx| {
        loop {
            match poll(cx) {
                Poll::Ready(Progress::HasSpoken) => place.has_spoken(),
                Poll::Ready(Progress::Done(done)) => return Poll::Ready(Ok(done)),
                Poll::Ready(Progress::Asked(ask)) => return Poll::Ready(Err(ask)),
                Poll::Pending => break,
            }
        }
        if std::mem::take(&mut is_fresh) {
            place.is_silent();
        }
        Poll::Pending
    })
    .await
}
