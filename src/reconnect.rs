//! When a peer that reconnects dials again: its settings, and the waits between tries. Nothing here has a
//! socket, a clock or a source of random numbers.

mod backoff;
mod schedule;
mod state;

use std::{ffi::OsStr, time::Duration};

use wawo_settings::{ConfigError, Row, Settable, Setting, settings};

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
    /// How many calls may wait for a connection; further ones fail at once, as not sent. Their messages are
    /// not counted in bytes.
    Count max_calls_without_connection: usize = "10000", least "1";
    /// How many tries may fail one after the other. After the last of them, the peer is closed for good.
    Count max_tries: u32 = "none", least "1", none "no limit";
}

/// The name of the one setting that is neither a number nor a time.
const WAIT_FOR_READY: &str = "wait_for_ready";

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

    /// Sets the setting of this name from a text. See [`ConfigBuilder::set`](crate::ConfigBuilder::set).
    ///
    /// # Errors
    ///
    /// If there is no such setting, the text is none of its values, or it is out of its range.
    pub fn set(mut self, name: &str, text: &str) -> Result<Self, ConfigError> {
        wawo_settings::set(&mut self, name, text)?;
        Ok(self)
    }

    /// Sets each setting for which the environment has a variable: `WAWO_RECONNECT_` and its name in
    /// capitals, such as `WAWO_RECONNECT_MAX_WAIT`, with the text of [`set`](Self::set).
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set). Another variable that begins with `WAWO_RECONNECT_` is an error too, which names
    /// the most similar one that there is.
    pub fn read_env(self) -> Result<Self, ConfigError> {
        self.read_variables(std::env::vars_os())
    }

    /// Does the same as [`read_env`](Self::read_env) with the given variables.
    ///
    /// # Errors
    ///
    /// As [`read_env`](Self::read_env).
    pub fn read_variables<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, ConfigError> {
        wawo_settings::set_from_variables(&mut self, "WAWO_RECONNECT_", &[], variables)?;
        Ok(self)
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

impl Settable for ReconnectBuilder {
    fn names() -> Vec<&'static str> {
        let amounts = Amounts::ROWS.iter().map(|row| row.name);
        amounts.chain([WAIT_FOR_READY]).collect()
    }

    fn read(&mut self, name: &str, key: &str, text: &str) -> Result<(), ConfigError> {
        match Amounts::ROWS.iter().find(|row| row.name == name) {
            Some(row) => row.read(&mut self.amounts, key, text)?,
            None => self.wait_for_ready = wawo_settings::switch(key, text)?,
        }
        Ok(())
    }
}

/// Reads a map from names of settings to whole numbers or texts as [`ReconnectBuilder::set`] takes them;
/// `wait_for_ready` may be `true` or `false`. Other names are refused.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for ReconnectBuilder {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wawo_settings::deserialize(deserializer)
    }
}

/// Reads as a [`ReconnectBuilder`] is read, and checks as [`ReconnectBuilder::build`] does.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Reconnect {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let builder = ReconnectBuilder::deserialize(deserializer)?;
        builder.build().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
