//! Calls that take too long, and why this side ends them.

use std::time::{Duration, Instant};

use crate::{
    call::{Call, SendHalf},
    code::Code,
    config::Config,
    hello::timeout_from_wire,
    time::{after, countable},
};

/// The setting that gave a call its deadline. The status of a call that has passed its deadline
/// names the setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadlineSource {
    /// [`Config::default_timeout`].
    #[default]
    DefaultTimeout,
    /// [`Config::stream_timeout`].
    StreamTimeout,
    /// A timeout that was set for this call.
    Call,
    /// The schema of the method.
    Method,
    /// The deadline of the handler that makes the call.
    Handler,
    /// [`Config::max_timeout`] of the callee.
    MaxTimeout,
    /// [`Config::max_stream_time`] of the callee.
    MaxStreamTime,
}

impl DeadlineSource {
    /// The words for a call that has passed a deadline from this setting. For a stream that was
    /// under way, they say after how long.
    pub fn passed(self, under_way: Option<Duration>, config: &Config) -> String {
        let setting = self.describe(config);
        match under_way {
            Some(time) => format!(
                "the stream was under way for {time:.1?} when its deadline passed ({setting})"
            ),
            None => format!("the deadline passed before the call was answered ({setting})"),
        }
    }

    /// The setting, with its value where the configuration has it.
    pub(crate) fn describe(self, config: &Config) -> String {
        self.with_value(match self {
            Self::DefaultTimeout => config.default_timeout(),
            Self::StreamTimeout => config.stream_timeout(),
            Self::MaxTimeout => config.max_timeout(),
            Self::MaxStreamTime => config.max_stream_time(),
            Self::Call | Self::Method | Self::Handler => None,
        })
    }

    /// The setting, with its value if that is known.
    pub fn with_value(self, value: Option<Duration>) -> String {
        let name = match self {
            Self::DefaultTimeout => "default_timeout",
            Self::StreamTimeout => "stream_timeout",
            Self::Call => "timeout of the call",
            Self::Method => "option (wawo.method).timeout_ms",
            Self::Handler => "deadline of the handler that made the call",
            Self::MaxTimeout => "max_timeout of the callee",
            Self::MaxStreamTime => "max_stream_time of the callee",
        };
        match value {
            Some(value) => format!("{name}, {value:?}"),
            None => name.to_owned(),
        }
    }
}

/// How long the calls of the other side may take.
#[derive(Debug)]
pub(crate) struct TheirTimeouts {
    /// The timeout that its hello announced, for calls that carry none.
    default: Option<Duration>,
    /// The timeout of calls that carry none, as nearly all do: `default` cut to `max_timeout`, and
    /// to [`FOREVER`](crate::time::FOREVER).
    usual: Option<Duration>,
}

impl TheirTimeouts {
    pub(crate) fn new(default: Option<Duration>, config: &Config) -> Self {
        let usual = earlier(default, config.max_timeout()).map(countable);
        Self { default, usual }
    }

    /// The deadline of a call that begins now, as long as nothing shows that it is a stream.
    #[inline]
    pub(crate) fn deadline(
        &self,
        now: Instant,
        timeout_ms: Option<u32>,
        config: &Config,
    ) -> Option<Instant> {
        match timeout_ms {
            // `usual` is at most `FOREVER`, so this sum does not overflow.
            None => self.usual.map(|timeout| now + timeout),
            Some(millis) => {
                let timeout = earlier(timeout_from_wire(millis), config.max_timeout());
                timeout.map(|timeout| after(now, timeout))
            }
        }
    }

    /// The deadline of a call if it is a stream.
    pub(crate) fn stream_deadline(
        &self,
        call: &Call,
        timeout_ms: Option<u32>,
        config: &Config,
    ) -> Option<Instant> {
        let Some(max) = config.max_stream_time() else {
            return call.deadline;
        };
        let requested = timeout_ms.map_or(self.default, timeout_from_wire);
        let timeout = earlier(requested, Some(max));
        timeout.map(|timeout| after(call.began, timeout))
    }
}

/// The text for a caller when the deadline of its call has passed at its callee. Empty if the caller
/// gave the deadline itself: it knows by which setting.
pub(crate) fn callee_text(call: &Call, is_stream: bool, config: &Config) -> String {
    let (source, max) = match config.max_stream_time() {
        Some(max) if is_stream => (DeadlineSource::MaxStreamTime, Some(max)),
        _ => (DeadlineSource::MaxTimeout, config.max_timeout()),
    };
    if max.is_none_or(|max| call.deadline != Some(after(call.began, max))) {
        return String::new();
    }
    let at = call.deadline.filter(|_| is_stream);
    let under_way = at.map(|at| at.saturating_duration_since(call.began));
    source.passed(under_way, config)
}

fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Why this side ends a call that takes too long.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TimeoutCause {
    /// Its deadline has passed.
    Deadline,
    /// The call had something to send and no credit for it, for this long.
    Stalled(Duration),
}

impl TimeoutCause {
    /// The earliest time at which a call's time is up, and why.
    pub(crate) fn earliest(
        deadline: Option<Instant>,
        send_half: Option<&SendHalf>,
        stall_timeout: Duration,
    ) -> Option<(Instant, Self)> {
        let deadline = deadline.map(|at| (at, Self::Deadline));
        let stalled = send_half.and_then(|send_half| send_half.stalled);
        let stalled =
            stalled.map(|since| (after(since, stall_timeout), Self::Stalled(stall_timeout)));
        let both = [deadline, stalled].into_iter().flatten();
        both.min_by_key(|(at, _)| *at)
    }

    pub(crate) fn code(self) -> Code {
        match self {
            Self::Deadline => Code::DeadlineExceeded,
            Self::Stalled(_) => Code::ResourceExhausted,
        }
    }

    /// The cause in words; `deadline` makes the words for a deadline that has passed.
    pub(crate) fn text(self, deadline: impl FnOnce() -> String) -> String {
        match self {
            Self::Deadline => deadline(),
            Self::Stalled(timeout) => {
                format!("the peer gave no credit for the call within {timeout:?} (stall_timeout)")
            }
        }
    }
}
