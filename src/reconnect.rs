//! When a peer that reconnects dials again: its settings, and the waits between tries. Nothing here has a
//! socket, a clock or a source of random numbers.

mod backoff;
mod schedule;
mod state;

use std::time::Duration;

use wawo_settings::{ConfigError, Row, Setting, settings};

pub use crate::reconnect::backoff::Backoff;
pub(crate) use crate::reconnect::{schedule::Schedule, state::State};

settings! {
    Amounts, Reconnect, ReconnectBuilder;
    /// The upper bound of the first wait. A wait is random between 0 and its bound, and the bound doubles
    /// with each try that fails, up to [`max_wait`](Self::max_wait). So clients that lose their connections
    /// at the same time come back one after the other. At most `max_wait`.
    Time first_wait: Duration = "1 s", least "1 ms";
    /// The upper bound of all waits.
    Time max_wait: Duration = "30 s", least "1 ms";
    /// How long a connection must have lasted, after its handshake, for the waits to begin anew with
    /// [`first_wait`](Self::first_wait). Otherwise they go on to grow. So a client whose connections are
    /// closed as soon as they are open does not come back again and again at the pace of the first wait.
    Time stable_after: Duration = "10 s", least "0 s";
    /// How many calls may wait for a connection, or for the reply that they get over one; further ones fail at
    /// once, as if they did not wait. It bounds the memory of a program that calls on while its peer cannot
    /// be reached.
    Count max_waiting_calls: usize = "10000", least "1";
    /// How many tries may fail one after the other. After the last of them, the peer is closed for good.
    Count max_tries: u32 = "none", least "1", none "no limit";
}

/// Settings for a peer that connects again when its connection is lost, which are valid: each is in its
/// range, and they agree.
///
/// ```
/// # use std::time::Duration;
/// let reconnect = wawo::Reconnect::builder()
///     .max_wait(Duration::from_secs(60))
///     .wait_for_ready(true)
///     .build()?;
/// # Ok::<(), wawo::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Reconnect {
    amounts: Amounts,
    wait_for_ready: bool,
}

/// Builds a [`Reconnect`] from the defaults.
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ReconnectBuilder {
    amounts: Amounts,
    wait_for_ready: bool,
}

impl Reconnect {
    /// A builder with the defaults.
    pub fn builder() -> ReconnectBuilder {
        ReconnectBuilder::default()
    }

    /// All settings that are numbers and times, with their defaults and ranges.
    pub fn settings() -> impl Iterator<Item = Setting> {
        Amounts::ROWS.iter().map(Row::describe)
    }

    /// See [`ReconnectBuilder::wait_for_ready`].
    pub fn wait_for_ready(&self) -> bool {
        self.wait_for_ready
    }

    /// The waits of a peer with these settings.
    pub fn backoff(&self) -> Backoff {
        Backoff::new(self.first_wait(), self.max_wait(), self.stable_after())
    }

    fn amounts(&self) -> &Amounts {
        &self.amounts
    }
}

impl ReconnectBuilder {
    /// Whether calls that are made while there is no connection wait for one, within their deadlines.
    /// Otherwise they fail at once. Default `false`.
    pub fn wait_for_ready(mut self, wait_for_ready: bool) -> Self {
        self.wait_for_ready = wait_for_ready;
        self
    }

    /// The settings.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or `first_wait` is more than `max_wait`. The error names the first
    /// such setting, and its range.
    pub fn build(self) -> Result<Reconnect, ConfigError> {
        let Self {
            amounts,
            wait_for_ready,
        } = self;
        let mut rows = Amounts::ROWS.iter();
        rows.try_for_each(|row| row.check(&amounts))?;
        if amounts.first_wait > amounts.max_wait {
            let (first, max) = (amounts.first_wait, amounts.max_wait);
            return Err(ConfigError::disagreement(
                "first_wait",
                format!("{first:?}"),
                format!("max_wait {max:?}"),
                format!("may be at most {max:?}"),
            ));
        }
        Ok(Reconnect {
            amounts,
            wait_for_ready,
        })
    }

    fn amounts_mut(&mut self) -> &mut Amounts {
        &mut self.amounts
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Reconnect;

    #[test]
    fn settings_are_checked_at_their_limits() {
        let new = Reconnect::builder;
        let (zero, ms) = (Duration::ZERO, Duration::from_millis(1));
        for (settings, wrong) in [
            (new(), None),
            (new().first_wait(ms).max_wait(ms), None),
            (new().max_wait(Duration::MAX), None),
            (
                new().first_wait(Duration::MAX).max_wait(Duration::MAX),
                None,
            ),
            (new().stable_after(zero).max_tries(Some(1)), None),
            (new().stable_after(Duration::MAX), None),
            (new().max_waiting_calls(usize::MAX), None),
            (
                new().first_wait(zero),
                Some("first_wait is 0ns; it must be at least 1ms"),
            ),
            (
                new().max_wait(zero),
                Some("max_wait is 0ns; it must be at least 1ms"),
            ),
            (new().max_waiting_calls(0), Some("max_waiting_calls is 0;")),
            (new().max_tries(Some(0)), Some("max_tries is 0;")),
            (
                new().max_wait(ms),
                Some("first_wait is 1s; with max_wait 1ms it may be at most 1ms"),
            ),
        ] {
            let error = settings.build().err().map(|error| error.to_string());
            match (wrong, &error) {
                (None, None) => {}
                (Some(text), Some(error)) => assert!(error.starts_with(text), "{error}"),
                _ => panic!("{error:?} and not {wrong:?}"),
            }
        }
    }
}
