//! Connects to a Unix socket, whose backlog may be full for a while.

use std::{future::Future, io, path::Path, time::Duration};

use tokio::net::UnixStream;

use crate::transport::{
    address::Address,
    attempts::{Attempts, ITSELF},
    options::SocketOptions,
    unix::{socket::abstract_path, user},
};

/// The pause after the first attempt at a full backlog. Each further attempt doubles it.
const MIN_PAUSE: Duration = Duration::from_millis(2);

/// The longest pause: short compared with any connect timeout, and long enough that many waiting clients
/// cost little.
const MAX_PAUSE: Duration = Duration::from_millis(50);

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
    let full = |error: &io::Error| {
        attempts.begin(&ITSELF);
        let text = format!("its backlog is full ({error})");
        attempts.fail(&ITSELF, io::Error::new(error.kind(), text));
    };
    until_accepted(|| UnixStream::connect(path), full).await
}

/// Calls `full` when the backlog is full for the first time.
async fn until_accepted<S, F>(dial: impl Fn() -> F, full: impl FnOnce(&io::Error)) -> io::Result<S>
where
    F: Future<Output = io::Result<S>>,
{
    let mut full = Some(full);
    let mut pause = MIN_PAUSE;
    loop {
        match dial().await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Some(full) = full.take() {
                    full(&error);
                }
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(MAX_PAUSE);
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        io::{self, ErrorKind},
        time::Duration,
    };

    use tokio::time::Instant;

    use super::until_accepted;

    #[tokio::test(start_paused = true)]
    async fn a_full_backlog_is_tried_again_with_pauses_that_grow_to_50_ms() {
        let begun = Instant::now();
        let tried = RefCell::new(Vec::new());
        let told = Cell::new(0);
        let dial = async || {
            tried.borrow_mut().push(begun.elapsed().as_millis());
            match tried.borrow().len() {
                9 => Ok(()),
                _ => Err(io::Error::from(ErrorKind::WouldBlock)),
            }
        };
        let full = |_: &_| told.set(told.get() + 1);
        until_accepted(dial, full).await.unwrap();
        let expected = [0, 2, 6, 14, 30, 62, 112, 162, 212];
        assert_eq!(*tried.borrow(), expected);
        assert_eq!(told.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn any_other_error_ends_it_at_once() {
        let begun = Instant::now();
        let dial = async || Err::<(), _>(io::Error::from(ErrorKind::ConnectionRefused));
        let error = until_accepted(dial, |_| {}).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
