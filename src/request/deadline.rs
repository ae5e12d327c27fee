//! The time that a call has: its deadline, and the timeouts that it takes where it sets none.

use std::time::{Duration, Instant};

use wawo_protocol::{Config, DeadlineSource};

/// The time at which a call ends at the latest, and the setting that this time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) source: DeadlineSource,
}

/// On the called side, the deadline of a call if its reply turns out to be a stream. It is an extension,
/// because it differs from the usual one only where `max_stream_time` is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamDeadline(pub(crate) Option<Instant>);

/// When a call began to wait for a service to be ready: its default timeout runs from there. It is an
/// extension, because few calls wait.
#[derive(Debug)]
pub(crate) struct WaitsSince(pub(crate) Instant);

/// The longest timeout, 49 days: the wire has 32 bits of milliseconds.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_millis(u32::MAX as u64);

/// The default timeouts of calls that set none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DefaultTimeouts {
    /// The timeout of calls with one message each way, and of one-way messages.
    call: Option<Duration>,
    stream: Option<Duration>,
}

impl DefaultTimeouts {
    pub(crate) fn new(config: &Config) -> Self {
        let clamped = |timeout: Option<Duration>| timeout.map(|timeout| timeout.min(MAX_TIMEOUT));
        Self {
            call: clamped(config.default_timeout()),
            stream: clamped(config.stream_timeout()),
        }
    }

    /// The text for a setting, with its value if it is one of these.
    #[cold]
    pub(crate) fn describe(&self, source: DeadlineSource) -> String {
        source.with_value(match source {
            DeadlineSource::DefaultTimeout => self.call,
            DeadlineSource::StreamTimeout => self.stream,
            _ => None,
        })
    }

    /// The timeout, and the setting that it came from.
    pub(crate) fn of(&self, is_stream: bool) -> (Option<Duration>, DeadlineSource) {
        match is_stream {
            false => (self.call, DeadlineSource::DefaultTimeout),
            true => (self.stream, DeadlineSource::StreamTimeout),
        }
    }
}
