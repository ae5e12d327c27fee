//! The state machine of a server's life.
//!
//! ```text
//!             drain                       its drain is over
//!  Serving ───────────► Draining { end } ───────────────────► Ended(report)
//!    │                    │       ▲
//!    │ dropped            └───────┘ drain again: the earlier end holds
//!    └──────────────────────────────────────────────────────► Ended(empty report)
//! ```
//!
//! It does not depend on [`Server::run`](crate::Server::run) being polled: the first caller of `drain`
//! starts the task that drains.

use std::time::Instant;

use crate::peer::DrainReport;

/// How far a server has come.
#[derive(Debug, Clone)]
pub(crate) enum Lifecycle {
    /// The server takes connections and calls.
    Serving,
    /// It takes no more. Calls in flight are cut at `end`.
    Draining { end: Instant },
    /// All connections are over.
    Ended(DrainReport),
}

/// The effect of a request to drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DrainEffect {
    /// The caller has to start the drain.
    Begins,
    /// The drain is under way, and now ends earlier.
    Hastens,
    /// The request changes nothing.
    Nothing,
}

impl Lifecycle {
    pub(crate) fn drain(&mut self, end: Instant) -> DrainEffect {
        match self {
            Self::Serving => {
                *self = Self::Draining { end };
                DrainEffect::Begins
            }
            Self::Draining { end: before } if end < *before => {
                *before = end;
                DrainEffect::Hastens
            }
            Self::Draining { .. } | Self::Ended(_) => DrainEffect::Nothing,
        }
    }

    /// Records that the drain is over. Returns whether this was new.
    pub(crate) fn drained(&mut self, report: DrainReport) -> bool {
        let is_news = matches!(self, Self::Draining { .. });
        if is_news {
            *self = Self::Ended(report);
        }
        is_news
    }

    /// Records that the server was dropped. A drain that is under way will find no connections.
    pub(crate) fn dropped(&mut self) -> bool {
        let is_news = matches!(self, Self::Serving);
        if is_news {
            *self = Self::Ended(DrainReport::default());
        }
        is_news
    }

    /// The time when calls in flight are cut.
    pub(crate) fn end(&self) -> Option<Instant> {
        match self {
            Self::Draining { end } => Some(*end),
            Self::Serving | Self::Ended(_) => None,
        }
    }

    pub(crate) fn report(&self) -> Option<&DrainReport> {
        match self {
            Self::Ended(report) => Some(report),
            Self::Serving | Self::Draining { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Lifecycle;
    use crate::peer::DrainReport;

    /// An event that a test gives to a lifecycle.
    #[derive(Debug, Clone, Copy)]
    enum Event {
        /// Drain within this many seconds.
        Drain(u64),
        Drained,
        Dropped,
    }

    /// The text of a lifecycle, as the table below writes it.
    fn print(lifecycle: &Lifecycle, begin: Instant) -> String {
        match lifecycle {
            Lifecycle::Serving => "serving".to_owned(),
            Lifecycle::Draining { end } => format!("draining {}", (*end - begin).as_secs()),
            Lifecycle::Ended(report) => format!("ended {}", report.peers),
        }
    }

    #[test]
    fn the_table_of_states_and_events() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let report = |peers| DrainReport {
            peers,
            ..DrainReport::default()
        };
        let serving = || Lifecycle::Serving;
        let draining = || Lifecycle::Draining { end: at(5) };
        let ended = || Lifecycle::Ended(report(1));
        let table = [
            (
                Event::Drain(0),
                [
                    "draining 0, Begins",
                    "draining 0, Hastens",
                    "ended 1, Nothing",
                ],
            ),
            (
                Event::Drain(4),
                [
                    "draining 4, Begins",
                    "draining 4, Hastens",
                    "ended 1, Nothing",
                ],
            ),
            (
                Event::Drain(5),
                [
                    "draining 5, Begins",
                    "draining 5, Nothing",
                    "ended 1, Nothing",
                ],
            ),
            (
                Event::Drain(6),
                [
                    "draining 6, Begins",
                    "draining 5, Nothing",
                    "ended 1, Nothing",
                ],
            ),
            (
                Event::Drained,
                ["serving, false", "ended 2, true", "ended 1, false"],
            ),
            (
                Event::Dropped,
                ["ended 0, true", "draining 5, false", "ended 1, false"],
            ),
        ];
        for (event, expected) in table {
            let states = [serving(), draining(), ended()];
            for (mut lifecycle, expected) in states.into_iter().zip(expected) {
                let before = print(&lifecycle, begin);
                let said = match event {
                    Event::Drain(seconds) => format!("{:?}", lifecycle.drain(at(seconds))),
                    Event::Drained => lifecycle.drained(report(2)).to_string(),
                    Event::Dropped => lifecycle.dropped().to_string(),
                };
                let after = format!("{}, {said}", print(&lifecycle, begin));
                assert_eq!(after, expected, "{before}: {event:?}");
            }
        }
    }
}
