//! Connects to a place of this machine that may have no room for one more connection for a while.

use std::{io, time::Duration};

use crate::transport::attempts::{Attempts, ITSELF};

/// The pause after the first attempt at a busy place. Each further attempt doubles it.
const MIN_PAUSE: Duration = Duration::from_millis(2);

/// The longest pause: short compared with any connect timeout, and long enough that many waiting clients
/// cost little.
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// Dials, and tries again while the place is busy, until the caller drops the future. `busy` returns the
/// reason if an error means that, and `attempts` records the first of these errors.
pub(super) async fn until_accepted<S, F>(
    dial: impl Fn() -> F,
    busy: impl Fn(&io::Error) -> Option<&'static str>,
    attempts: &mut Attempts,
) -> io::Result<S>
where
    F: Future<Output = io::Result<S>>,
{
    let mut pause = MIN_PAUSE;
    loop {
        let error = match dial().await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let Some(reason) = busy(&error) else {
            return Err(error);
        };
        if pause == MIN_PAUSE {
            let text = format!("{reason} ({error})");
            attempts.begin(&ITSELF);
            attempts.fail(&ITSELF, io::Error::new(error.kind(), text));
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(MAX_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        io::{self, ErrorKind},
        time::Duration,
    };

    use tokio::time::Instant;

    use super::until_accepted;
    use crate::transport::attempts::Attempts;

    fn would_block(error: &io::Error) -> Option<&'static str> {
        (error.kind() == ErrorKind::WouldBlock).then_some("it is full")
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_place_is_tried_again_with_pauses_that_grow_to_50_ms() {
        let begun = Instant::now();
        let tried = RefCell::new(Vec::new());
        let dial = async || {
            tried.borrow_mut().push(begun.elapsed().as_millis());
            match tried.borrow().len() {
                9 => Ok(()),
                count => Err(io::Error::new(ErrorKind::WouldBlock, format!("no {count}"))),
            }
        };
        let mut attempts = Attempts::default();
        until_accepted(dial, would_block, &mut attempts)
            .await
            .unwrap();
        let expected = [0, 2, 6, 14, 30, 62, 112, 162, 212];
        assert_eq!(*tried.borrow(), expected);
        assert_eq!(attempts.to_string(), "it is full (no 1)");
    }

    #[tokio::test(start_paused = true)]
    async fn any_other_error_ends_it_at_once() {
        let begun = Instant::now();
        let dial = async || Err::<(), _>(io::Error::from(ErrorKind::ConnectionRefused));
        let mut attempts = Attempts::default();
        let connecting = until_accepted(dial, would_block, &mut attempts);
        let error = connecting.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
