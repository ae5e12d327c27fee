//! Why a peer has no connection, for the statuses of calls that fail because of it.

use std::{
    error::Error,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use wawo_protocol::ConnectionError;

use crate::clock;

/// A time without a connection: since when, why, and how far the tries to connect have come.
#[derive(Debug, Clone)]
pub(crate) struct Outage {
    pub(crate) since: Instant,
    /// Why the last connection ended; `None` if there was none.
    pub(crate) lost: Option<ConnectionError>,
    /// How many tries have failed.
    pub(crate) failed: u32,
    /// The error of the last of them.
    pub(crate) last: Option<Arc<dyn Error + Send + Sync>>,
    /// The time of the next try; `None` while one is under way.
    pub(crate) next: Option<Instant>,
}

impl Outage {
    /// A time without a connection that begins now. `lost` is the end of the connection before.
    pub(crate) fn begin(lost: Option<ConnectionError>) -> Self {
        Self {
            since: clock::now(),
            lost,
            failed: 0,
            last: None,
            next: None,
        }
    }

    /// Why there is no connection, such as `no connection for 3s: it was lost: ..`.
    pub(super) fn describe(&self) -> String {
        let now = clock::now();
        let lasted = now.saturating_duration_since(self.since);
        let mut text = match &self.lost {
            Some(error) => format!("no connection for {:?}: {error}", rounded(lasted)),
            None => format!("not connected yet, for {:?}", rounded(lasted)),
        };
        // Writing to a string never fails.
        let _ = match (self.failed, &self.last) {
            (0, _) | (_, None) => Ok(()),
            (1, Some(last)) => write!(text, "; a try to connect has failed: {last}"),
            (failed, Some(last)) => {
                write!(
                    text,
                    "; {failed} tries to connect have failed, at last: {last}"
                )
            }
        };
        let _ = match self.next {
            Some(next) => {
                let wait = rounded(next.saturating_duration_since(now));
                write!(text, "; the next try is in {wait:?}")
            }
            None => write!(text, "; a try is under way"),
        };
        text
    }
}

/// A time in whole milliseconds.
fn rounded(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
