//! The settings of one end of a connection.
//!
//! A [`Config`] that exists is valid: only [`ConfigBuilder::build`] makes one, and it checks each setting
//! against its range and against the settings that it depends on. So no other code checks again.
//!
//! ```text
//!   code ------ methods ------.
//!   a file ---- Deserialize --+--> ConfigBuilder --build--> Config --> Connection, layers above
//!   variables - read_env -----'         |
//!                                  ConfigError
//! ```
//!
//! Two tables hold names, defaults and ranges: [`Limits`] has the settings that the other side must keep,
//! the table below has the rest.

mod disagree;

use std::{ffi::OsStr, fmt, time::Duration};

use bytes::Bytes;
use wawo_settings::{ConfigError, Row, Settable, Setting, settings};

use crate::limits::{Limits, limits};

settings! {
    Amounts, Config, ConfigBuilder;
    /// The deadline of calls with one message each way, and of one-way messages, that set none,
    /// counted from their start. The hello announces it, so that such calls carry no deadline of their
    /// own.
    Time default_timeout: Duration = "10 s", least "1 ms", none "calls without a deadline";
    /// The deadline of our calls with a stream in either direction that set none, counted from their
    /// start. Without a deadline, keep-alive, `stall_timeout` and drain bound a stream.
    Time stream_timeout: Duration = "none", least "1 ms", none "calls without a deadline";
    /// The time in which a connection must be made, with the exchange of hellos; for the layers
    /// above.
    Time connect_timeout: Duration = "5 s", least "1 ms";
    /// The time in which the other side must send its hello.
    Time handshake_timeout: Duration = "5 s", least "1 ms";
    /// The time without a received byte after which a ping is sent. A side pings no more often than
    /// once in a second (docs/protocol.md, "Keep-alive"). The hello asks the other side to ping no more
    /// often either, which spares the battery of a phone.
    Time keep_alive_interval: Duration = "20 s", least "1 s";
    /// The longest time between two pings that the other side may ask for. With more, a side that is
    /// gone is noticed later; a longer `keep_alive_interval` of this side holds all the same.
    Time max_keep_alive_interval: Duration = "10 m", least "1 s";
    /// The time in which a ping must be answered, or the connection is closed.
    Time keep_alive_timeout: Duration = "10 s", least "1 ms";
    /// The time that a packet may take from its first byte to its last.
    Time packet_timeout: Duration = "10 s", least "1 ms";
    /// The time in which the other side must take 4 KiB of the output that waits for it, or the
    /// connection is closed.
    Time write_timeout: Duration = "10 s", least "1 ms";
    /// The time for which a call may have something to send and no credit for it; and for which a call
    /// without a deadline may wait for a slot of the other side. Then the call ends.
    Time stall_timeout: Duration = "30 s", least "1 ms";
    /// The longest time that a call of the other side may take, if its caller asks for more or for no
    /// deadline. It has nothing to do with `default_timeout`, which is for calls of this side.
    Time max_timeout: Duration = "none", least "1 ms", none "no limit";
    /// The same for a call of the other side that is a stream, in place of `max_timeout`, and counted
    /// from the start of the call too. A call with one request becomes a stream when its reply begins as
    /// one; until then `max_timeout` holds. Without it, `max_timeout` bounds streams too.
    Time max_stream_time: Duration = "none", least "1 ms", none "no limit";
    /// Calls of the other side, among its `max_calls`, that may be streams in either direction. One more
    /// ends with `ResourceExhausted`, so with 0 there are no streams.
    Count max_streams: usize = "256", least "0";
    /// Bytes of the first messages and of the metadata of all calls of the other side that are in flight.
    /// A call that exceeds it ends with `ResourceExhausted`. At least `max_message_bytes` and
    /// `max_metadata_bytes` together, or the largest call could never be served.
    Bytes max_opening_bytes: usize = "64 MiB", least "72 KiB";
    /// The memory that a message may take when it is decoded, in bytes. The layers above this crate apply
    /// this setting and the next one. A call with a larger one ends with `ResourceExhausted`. At most
    /// `max_connection_decoded_bytes`. A message that takes 16 KiB or less is not counted.
    Bytes max_decoded_bytes: usize = "64 MiB", least "16 KiB";
    /// The memory that all requests of the other side that are being served may take when they are
    /// decoded, in bytes. A call that exceeds it ends with `ResourceExhausted` and is not served; a
    /// stream that exceeds it ends with that status. At least `max_decoded_bytes`.
    Bytes max_connection_decoded_bytes: usize = "128 MiB", least "16 KiB";
    /// Bytes of our replies that wait for the other side to read them. While more wait, its calls end
    /// with `ResourceExhausted` and are not served. A reply that would bring them to more than twice this
    /// limit ends its call with `ResourceExhausted` too.
    Bytes max_waiting_reply_bytes: usize = "64 MiB", least "16 KiB";
    /// Calls of the other side that it may cancel within a second. A peer may rely on the least values of
    /// this setting and the next three (docs/protocol.md, "Abuse", "Keep-alive", "Chunks").
    Count max_cancels_per_second: u32 = "10000", least "1000";
    /// Pings of the other side in a row that may come less than half a second after the one before.
    Count max_early_pings: u32 = "3", least "3";
    /// Packets in a row from the other side that may carry nothing: packets for calls that are over, or
    /// credit of less than 1 KiB.
    Count max_idle_packets: u32 = "4096", least "1000";
    /// Chunks of one message, besides its last, that may have less than 1 KiB.
    Count max_small_chunks: u32 = "100", least "100";
    /// The greatest depth of a call: the number of calls that led to it, each made by the handler of the
    /// one before. The layers above this crate apply it. It stops peers that call each other in a circle;
    /// with 0, handlers cannot call.
    Count max_call_depth: u32 = "16", least "0";
    /// Calls and one-way messages of ours that may wait for the other side's limits. It bounds three
    /// kinds separately: calls that handlers make, other calls, and one-way messages. Half of each kind
    /// wait before they come to the connection, so the least is two.
    Count max_waiting_calls: usize = "16384", least "2";
}

/// The settings of one end of a connection. They are valid: each is in its range, and they agree with
/// each other.
///
/// Connections can share one; a clone copies a few hundred bytes. [`ConfigBuilder`] says what each
/// setting means.
///
/// ```
/// # use std::time::Duration;
/// let config = wawo_protocol::Config::builder()
///     .default_timeout(Some(Duration::from_secs(2)))
///     .max_message_bytes(64 * 1024)
///     .build()?;
/// assert_eq!(config.limits().max_message_bytes, 65_536);
///
/// let error = wawo_protocol::Config::builder().max_calls(10).build().unwrap_err();
/// assert_eq!(error.to_string(), "max_calls is 10; it must be from 64 to 1073741824");
/// # Ok::<(), wawo_protocol::ConfigError>(())
/// ```
#[derive(Clone, Default)]
pub struct Config {
    limits: Limits,
    amounts: Amounts,
    claimed_name: String,
    services: Bytes,
}

/// Builds a [`Config`], beginning with the defaults.
///
/// Settings come from code, from text by their names, from variables of the environment, and with
/// the feature `serde` from a file. A later one replaces an earlier one, so that variables can have the
/// last word:
///
/// ```
/// # fn main() -> Result<(), wawo_protocol::ConfigError> {
/// let config = wawo_protocol::Config::builder()
///     .max_calls(4096)
///     .set("keep_alive_interval", "30s")?
///     .read_env()?
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ConfigBuilder(Config);

impl Config {
    /// A builder with the defaults.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// All settings that are numbers, sizes and times, with their defaults and ranges. Besides them
    /// there is [`claimed_name`](ConfigBuilder::claimed_name), a text.
    pub fn settings() -> impl Iterator<Item = Setting> {
        let limits = Limits::rows().map(Row::describe);
        limits.chain(Amounts::ROWS.iter().map(Row::describe))
    }

    /// The limits that the other side must keep.
    #[inline]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// See [`ConfigBuilder::claimed_name`].
    pub fn claimed_name(&self) -> &str {
        &self.claimed_name
    }

    /// The table of the services that we serve, for the layers above. Default empty.
    pub fn services(&self) -> &Bytes {
        &self.services
    }

    /// Returns the same settings with a table of services, which the hello sends to the other side. A
    /// `Server` or `PeerBuilder` of wawo puts its own here.
    ///
    /// # Errors
    ///
    /// If the table does not fit into a hello.
    pub fn with_services(mut self, services: Bytes) -> Result<Self, ConfigError> {
        self.services = services;
        self.check_hello()?;
        Ok(self)
    }

    #[inline]
    fn amounts(&self) -> &Amounts {
        &self.amounts
    }
}

impl fmt::Debug for Config {
    /// Prints only the length of the table of services.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("limits", &self.limits)
            .field("amounts", &self.amounts)
            .field("claimed_name", &self.claimed_name)
            .field("services", &format_args!("{} bytes", self.services.len()))
            .finish()
    }
}

impl ConfigBuilder {
    /// The configuration.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or two settings do not agree. The error names them, and the
    /// range.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.0;
        config.limits.check()?;
        let mut rows = Amounts::ROWS.iter();
        rows.try_for_each(|row| row.check(&config.amounts))?;
        config.check_agreement()?;
        config.check_hello()?;
        Ok(config)
    }

    /// Sets all limits that the other side must keep, such as [`Limits::MINIMUM`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.0.limits = limits;
        self
    }

    /// The name that this side claims in its hello, at most 255 bytes of UTF-8. Default empty. It is
    /// not proven: credentials prove who a side is.
    pub fn claimed_name(mut self, claimed_name: impl Into<String>) -> Self {
        self.0.claimed_name = claimed_name.into();
        self
    }

    /// Sets the setting of this name from a text, as a file or an option of a command has it.
    ///
    /// A count is a whole number. A size is a number of bytes, or has `KiB`, `MiB` or `GiB` behind it.
    /// A time has `ms`, `s`, `m` or `h` behind it; `never` is the longest. Settings that can be absent
    /// take `none`.
    ///
    /// # Errors
    ///
    /// If there is no such setting, the text is none of its values, or it is out of its range.
    pub fn set(mut self, name: &str, text: &str) -> Result<Self, ConfigError> {
        wawo_settings::set(&mut self, name, text)?;
        Ok(self)
    }

    /// Sets each setting for which the environment has a variable: `WAWO_` and its name in capitals,
    /// such as `WAWO_MAX_CALLS` or `WAWO_HANDSHAKE_TIMEOUT`, with the text of [`set`](Self::set).
    /// Variables that begin with `WAWO_SERVER_` or `WAWO_RECONNECT_` are for servers, and for peers that
    /// reconnect, of the crate `wawo`.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set). Another variable that begins with `WAWO_` is an error too, which names
    /// the most similar one that there is.
    pub fn read_env(self) -> Result<Self, ConfigError> {
        self.read_variables(std::env::vars_os())
    }

    /// Does the same as [`read_env`](Self::read_env) with the variables that the caller gives.
    ///
    /// ```
    /// # use wawo_protocol::Config;
    /// let read = |variable| Config::builder().read_variables([variable]);
    /// let config = read(("WAWO_MAX_MESSAGE_BYTES", "8MiB"))?.build()?;
    /// assert_eq!(config.limits().max_message_bytes, 8 << 20);
    ///
    /// let error = read(("WAWO_MAX_CALL", "100")).unwrap_err();
    /// let text = "WAWO_MAX_CALL is no setting; the nearest one is WAWO_MAX_CALLS";
    /// assert_eq!(error.to_string(), text);
    /// # Ok::<(), wawo_protocol::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`read_env`](Self::read_env).
    pub fn read_variables<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, ConfigError> {
        let others = ["WAWO_SERVER_", "WAWO_RECONNECT_"];
        wawo_settings::set_from_variables(&mut self, "WAWO_", &others, variables)?;
        Ok(self)
    }

    fn amounts_mut(&mut self) -> &mut Amounts {
        &mut self.0.amounts
    }
}

macro_rules! set_limits {
    ($(
        $(#[$doc:meta])*
        $wire:literal $unit:ident $name:ident = $default:literal, least $least:literal, most $most:literal;
    )*) => {
        /// Limits that the hello announces, and that the other side must keep.
        impl ConfigBuilder {
            $(
                $(#[$doc])*
                ///
                #[doc = settings!(@doc $default, least $least, most $most)]
                pub fn $name(mut self, value: u32) -> Self {
                    self.0.limits.$name = value;
                    self
                }
            )*
        }
    };
}
limits!(set_limits);

impl From<Config> for ConfigBuilder {
    /// Makes a builder that changes some settings of a configuration.
    fn from(config: Config) -> Self {
        Self(config)
    }
}

impl Settable for ConfigBuilder {
    fn names() -> Vec<&'static str> {
        let settings = Config::settings().map(|setting| setting.name);
        settings.chain(["claimed_name"]).collect()
    }

    fn read(&mut self, name: &str, key: &str, text: &str) -> Result<(), ConfigError> {
        let config = &mut self.0;
        if let Some(row) = Limits::rows().find(|row| row.name == name) {
            return row.read(&mut config.limits, key, text);
        }
        if let Some(row) = Amounts::ROWS.iter().find(|row| row.name == name) {
            return row.read(&mut config.amounts, key, text);
        }
        config.claimed_name = text.to_owned();
        Ok(())
    }
}

/// Reads a map of names to whole numbers, or to texts as [`ConfigBuilder::set`] takes them. Unknown names
/// are refused.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for ConfigBuilder {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wawo_settings::deserialize(deserializer)
    }
}

/// Reads a [`ConfigBuilder`], and checks it as [`ConfigBuilder::build`] does.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Config {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let builder = ConfigBuilder::deserialize(deserializer)?;
        builder.build().map_err(serde::de::Error::custom)
    }
}
