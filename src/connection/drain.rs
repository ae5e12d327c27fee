//! The progress of the drain of a connection, and the reasons with which a drained connection closes.

use std::{
    io,
    iter::Sum,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use wawo_protocol::{CloseCode, ConnectionError};

/// The reason in the close packet when all calls of a drained connection have ended.
pub(crate) const DRAINED: &str = "drained";

/// The reason in the close packet when calls were left at the end of the drain's grace.
pub(crate) const GRACE_OVER: &str = "the grace for draining is over";

/// How long a driver may take to send the close packet when the grace is over. A drain ends late by at
/// most this time.
pub(crate) const CLOSE_PACKET_TIMEOUT: Duration = Duration::from_millis(100);

/// Whether the other side ended the connection while it drained. The operating system may discard the
/// close packet together with other unread bytes; then the error here is a reset of the socket, which a
/// write on Windows reports as aborted.
pub(crate) fn ended_by_drain(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::ClosedByPeer { code, text } => {
            *code == CloseCode::Normal && text == DRAINED
        }
        ConnectionError::Lost(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
        ),
        _ => false,
    }
}

/// The progress of one connection's drain: the driver counts calls here, and reports read the counts.
#[derive(Debug, Default)]
pub(crate) struct DrainProgress(Mutex<DrainCounts>);

#[derive(Debug, Default, Clone, Copy)]
struct DrainCounts {
    /// The number of calls in flight when the drain began.
    began_with: usize,
    /// The number of calls still in flight: some of the first ones, and calls that their handlers made
    /// since.
    still_in_flight: usize,
    /// The length of the grace, once the grace is over.
    cut_after: Option<Duration>,
}

/// The outcome of the calls that were in flight when a drain began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DrainOutcome {
    /// The number of calls that ended by themselves.
    pub(crate) finished: usize,
    /// The number of calls that did not.
    pub(crate) cut: usize,
    /// Whether this side cut them, because the grace was over.
    pub(crate) is_cut_here: bool,
}

/// The outcome of a drain of several connections.
impl Sum for DrainOutcome {
    fn sum<I: Iterator<Item = Self>>(outcomes: I) -> Self {
        let mut sum = Self {
            finished: 0,
            cut: 0,
            is_cut_here: false,
        };
        for outcome in outcomes {
            sum.finished += outcome.finished;
            sum.cut += outcome.cut;
            sum.is_cut_here |= outcome.is_cut_here;
        }
        sum
    }
}

impl DrainProgress {
    /// Begins the drain with this many calls in flight.
    pub(crate) fn begin(&self, in_flight: usize) {
        let mut progress = self.lock();
        (progress.began_with, progress.still_in_flight) = (in_flight, in_flight);
    }

    /// Records that this many calls are still in flight.
    pub(crate) fn count(&self, in_flight: usize) {
        self.lock().still_in_flight = in_flight;
    }

    /// Records that the grace, of this length, is over.
    pub(crate) fn cut(&self, grace: Duration) {
        self.lock().cut_after = Some(grace);
    }

    /// The reason for which this side cut calls, if it did.
    pub(crate) fn why_cut(&self) -> Option<String> {
        let grace = self.lock().cut_after?;
        Some(format!(
            "the grace of this side's drain, {grace:?}, was over"
        ))
    }

    pub(crate) fn outcome(&self) -> DrainOutcome {
        let progress = *self.lock();
        DrainOutcome {
            finished: progress.began_with.saturating_sub(progress.still_in_flight),
            cut: progress.still_in_flight,
            is_cut_here: progress.cut_after.is_some(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, DrainCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc, time::Duration};

    use wawo_protocol::{CloseCode, ConnectionError};

    use super::{DRAINED, DrainOutcome, DrainProgress, ended_by_drain};

    #[test]
    fn calls_that_end_count_as_finished_and_the_rest_as_cut() {
        let drain = DrainProgress::default();
        drain.begin(3);
        drain.count(1);
        let outcome = |is_cut_here| DrainOutcome {
            finished: 2,
            cut: 1,
            is_cut_here,
        };
        assert_eq!((drain.outcome(), drain.why_cut()), (outcome(false), None));
        drain.cut(Duration::from_secs(5));
        assert_eq!(drain.outcome(), outcome(true));
        assert!(drain.why_cut().is_some_and(|why| why.contains("5s")));
        // The calls in flight may make more calls than there were in the beginning.
        drain.count(4);
        assert_eq!(drain.outcome().finished, 0);
    }

    #[test]
    fn a_drain_of_the_other_side_is_told_from_other_ends() {
        let closed = |code, text: &str| ConnectionError::ClosedByPeer {
            code,
            text: text.to_owned(),
        };
        let lost = |kind: io::ErrorKind| ConnectionError::Lost(Arc::new(kind.into()));
        assert!(ended_by_drain(&closed(CloseCode::Normal, DRAINED)));
        assert!(ended_by_drain(&lost(io::ErrorKind::ConnectionReset)));
        assert!(ended_by_drain(&lost(io::ErrorKind::ConnectionAborted)));
        assert!(!ended_by_drain(&closed(CloseCode::Normal, "other")));
        assert!(!ended_by_drain(&closed(CloseCode::LimitExceeded, DRAINED)));
        assert!(!ended_by_drain(&lost(io::ErrorKind::BrokenPipe)));
        assert!(!ended_by_drain(&ConnectionError::ClosedHere));
    }
}
