//! Calls that take too long, and why this side ends them.

use std::time::{Duration, Instant};

use crate::{call::SendHalf, code::Code, config::Config, hello::timeout_from_wire, time::after};

/// The setting that gave a call its deadline: the status of a call that has passed it names it.
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
    /// In words, how a call has passed a deadline from this setting: after how long, if it was a
    /// stream that was under way.
    pub fn passed(self, under_way: Option<Duration>, config: &Config) -> String {
        deadline_text(under_way, &self.describe(config))
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
        with_value(name, value)
    }
}

/// When a call of theirs ends, if it has not ended before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TheirDeadline {
    began: Instant,
    pub(crate) at: Option<Instant>,
    /// The timeout that came with it.
    timeout_ms: Option<u32>,
}

impl TheirDeadline {
    /// The deadline of a call that begins now, with the timeout that came with it.
    pub(crate) fn new(now: Instant, at: Option<Instant>, timeout_ms: Option<u32>) -> Self {
        Self {
            began: now,
            at,
            timeout_ms,
        }
    }

    /// The deadline that it has as a stream.
    pub(crate) fn of_stream(self, default: Option<Duration>, config: &Config) -> Self {
        let Some(max) = config.max_stream_time() else {
            return self;
        };
        let timeout = earlier(requested_timeout(self.timeout_ms, default), Some(max));
        let at = timeout.map(|timeout| after(self.began, timeout));
        Self { at, ..self }
    }

    /// The text for a caller when the deadline of its call has passed at its callee. Empty if the caller
    /// gave the deadline itself: it knows by which setting.
    pub(crate) fn text(&self, is_stream: bool, config: &Config) -> String {
        let at = self.at.filter(|_| is_stream);
        let under_way = at.map(|at| at.saturating_duration_since(self.began));
        let setting = self.own_setting(is_stream, config);
        setting.map_or_else(String::new, |setting| deadline_text(under_way, &setting))
    }

    /// The setting of this side that gave it, if one did.
    fn own_setting(&self, is_stream: bool, config: &Config) -> Option<String> {
        let (source, max) = match config.max_stream_time() {
            Some(max) if is_stream => (DeadlineSource::MaxStreamTime, Some(max)),
            _ => (DeadlineSource::MaxTimeout, config.max_timeout()),
        };
        let gave_it = max.is_some_and(|max| self.at == Some(after(self.began, max)));
        gave_it.then(|| source.describe(config))
    }
}

/// The time that a caller asks for.
pub(crate) fn requested_timeout(
    timeout_ms: Option<u32>,
    default: Option<Duration>,
) -> Option<Duration> {
    timeout_ms.map_or(default, timeout_from_wire)
}

pub(crate) fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn with_value(name: &str, value: Option<Duration>) -> String {
    match value {
        Some(value) => format!("{name}, {value:?}"),
        None => name.to_owned(),
    }
}

/// How a call has passed its deadline; for a stream, after how long under way.
fn deadline_text(under_way: Option<Duration>, setting: &str) -> String {
    match under_way {
        Some(time) => {
            format!("the stream was under way for {time:.1?} when its deadline passed ({setting})")
        }
        None => format!("the deadline passed before the call was answered ({setting})"),
    }
}

/// Why a call is ended by this side.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TimeoutCause {
    /// Its deadline has passed.
    Deadline,
    /// It had something to send, and for so long no credit for it.
    Stalled(Duration),
}

impl TimeoutCause {
    /// When a call will have taken too long, and why.
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

    /// In words; `deadline` says how a deadline was passed.
    pub(crate) fn text(self, deadline: impl FnOnce() -> String) -> String {
        match self {
            Self::Deadline => deadline(),
            Self::Stalled(timeout) => {
                format!("the peer gave no credit for the call within {timeout:?} (stall_timeout)")
            }
        }
    }
}
