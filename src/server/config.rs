//! The settings of a server: of all connections together, and of each of them.
//!
//! A [`ServerConfig`] that exists is valid, as a [`Config`] is: only [`ServerConfigBuilder::build`] makes
//! one, and checks its settings against their ranges and against those of a connection.

use std::{ffi::OsStr, time::Duration};

use wawo_protocol::{Config, ConfigBuilder};
use wawo_settings::{ConfigError, Row, Settable, Setting, settings};

use crate::{
    reconnect::ReconnectBuilder,
    server::{
        admission::ConnectionLimits, drain_request::DrainRequest, host::TrustedProxies, memory,
    },
};

settings! {
    Amounts, ServerConfig, ServerConfigBuilder;
    /// The number of connections, at most.
    ///
    /// To admit one more, the server closes one of the host that has the most, if that host has more than
    /// its share: the limit, divided by the number of connected hosts. Of its connections, those that
    /// never had a call are closed first, then the one that has been idle for the longest time, and one
    /// that has calls only if there is no other. If no host has more than its share, the new connection
    /// is refused. Both are told why, in a close packet that says `limit exceeded`.
    Count max_connections: usize = "10000", least "1";
    /// The number of connections without a hello, at most. To admit one more, the server closes the one
    /// that has been silent for the longest time, unless some bytes of it have come by then. So clients
    /// that connect and send nothing keep nobody out. While all of these wait until the server first
    /// polls them, no more are accepted. Transports that are given to
    /// [`Server::accept_over`](crate::Server::accept_over) do not count.
    Count max_handshakes: usize = "1000", least "1";
    /// The number of connections from one host over TCP, at most; further ones are refused, and told why.
    ///
    /// A host is an IPv4 address, or the /64 of an IPv6 address. Connections from this machine, over
    /// Unix sockets or named pipes and within the process are not counted; see
    /// [`trusted_proxies`](Self::trusted_proxies).
    Count max_connections_per_host: usize = "none", least "1", none "a quarter of max_connections";
    /// The memory that the decoded requests of all running calls may take, of all connections together,
    /// in bytes. A call that exceeds it ends with `ResourceExhausted`, unserved. Requests that take 16
    /// KiB or less are not counted. At least [`max_decoded_bytes`](ConfigBuilder::max_decoded_bytes);
    /// each connection also has
    /// [`max_connection_decoded_bytes`](ConfigBuilder::max_connection_decoded_bytes).
    ///
    /// If it is not set, it is a quarter of the memory of the machine or of its control group, and at
    /// most 1 GiB. It is 1 GiB where the memory is not known, which is elsewhere than on Linux.
    Bytes max_server_decoded_bytes: usize = "none", least "16 KiB", none "a quarter of the memory";
    /// The number of threads that serve connections, each with a runtime of its own. A connection stays
    /// at the thread that had the fewest when it was accepted, and so do its handlers and the tasks that
    /// they spawn. Without them, the runtime that runs the server serves too, with all of its threads.
    ///
    /// With a thread for each core, calls over many connections wait less for others, as nothing goes
    /// from thread to thread. But threads do not help each other: a handler that blocks holds up all
    /// connections of its thread, and a single connection uses one thread only. Declare such handlers as
    /// blocking: see [`BlockingLayer`](crate::layer::BlockingLayer).
    ///
    /// The threads end with the server, once all tasks that handlers have left there have ended; a
    /// program that ends does not wait for them. A transport that is given to
    /// [`Server::accept_over`](crate::Server::accept_over) stays in the runtime in which that was called.
    ///
    /// `tokio::task::block_in_place` panics in these threads, as in each runtime of one thread.
    /// `spawn_blocking` works; each of these runtimes has its own pool for it.
    Count workers: usize = "none", least "1", most "1024", none "the runtime of the server";
    /// The time that calls in flight have to end when the server is drained by the signal of
    /// [`Server::run_until`](crate::Server::run_until); those that last longer are cut.
    Time drain_grace: Duration = "10 s", least "0 s";
    /// The time over which peers are asked to connect anew when the server is drained by the signal of
    /// [`Server::run_until`](crate::Server::run_until); the `drain_grace` follows. See
    /// [`ServerDrain::spread`](crate::ServerDrain::spread).
    Time drain_spread: Duration = "0 s", least "0 s";
}

/// The settings of a server, which are valid: each is in its range, and they agree.
///
/// ```
/// let config = wawo::ServerConfig::builder()
///     .max_connections(100_000)
///     .connection(wawo::Config::builder().max_calls(4096).build()?)
///     .build()?;
/// let server = wawo::Server::builder().config(config);
/// # Ok::<(), wawo::ConfigError>(())
/// ```
///
/// A `ServerConfig` that is made from a [`Config`] has the defaults of a server.
#[derive(Debug, Clone, Default)]
pub struct ServerConfig {
    pub(crate) connection: Config,
    pub(crate) trusted_proxies: TrustedProxies,
    proxy_protocol: bool,
    amounts: Amounts,
}

/// Builds a [`ServerConfig`] from the defaults: by code, by text, by variables of the environment, and
/// with the feature `serde` from a file. A later setting replaces an earlier one.
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ServerConfigBuilder {
    connection: ConfigBuilder,
    own: OwnSettings,
}

/// The settings of the server alone.
#[derive(Debug, Clone, Default)]
struct OwnSettings {
    amounts: Amounts,
    trusted_proxies: Option<Vec<String>>,
    proxy_protocol: bool,
}

/// The name of the setting that is a list of addresses.
const TRUSTED_PROXIES: &str = "trusted_proxies";

/// The name of the setting that is on or off.
const PROXY_PROTOCOL: &str = "proxy_protocol";

impl ServerConfig {
    /// A builder with the defaults.
    pub fn builder() -> ServerConfigBuilder {
        ServerConfigBuilder::default()
    }

    /// All settings of the server that are numbers, sizes and times, with their defaults and ranges.
    /// Besides them there are [`trusted_proxies`](ServerConfigBuilder::trusted_proxies),
    /// [`proxy_protocol`](ServerConfigBuilder::proxy_protocol) and the
    /// [settings of connections](Config::settings).
    pub fn settings() -> impl Iterator<Item = Setting> {
        Amounts::ROWS.iter().map(Row::describe)
    }

    /// The settings of each connection.
    pub fn connection(&self) -> &Config {
        &self.connection
    }

    /// See [`ServerConfigBuilder::proxy_protocol`].
    pub fn proxy_protocol(&self) -> bool {
        self.proxy_protocol
    }

    /// The limits on the number of connections.
    pub(crate) fn connection_limits(&self) -> ConnectionLimits {
        let a_quarter = (self.max_connections() / 4).max(1);
        ConnectionLimits {
            connections: self.max_connections(),
            handshakes: self.max_handshakes(),
            per_host: self.max_connections_per_host().unwrap_or(a_quarter),
        }
    }

    /// The drain by the signal of [`Server::run_until`](crate::Server::run_until).
    pub(crate) fn drain_request(&self) -> DrainRequest {
        DrainRequest {
            grace: self.drain_grace(),
            spread: self.drain_spread(),
            address: None,
        }
    }

    /// The memory for decoded requests, in bytes; the default if it is not set.
    pub(crate) fn decoded_bytes(&self) -> usize {
        let set = self.max_server_decoded_bytes();
        set.unwrap_or_else(memory::default_decoded_bytes)
    }

    /// Checks that a message of the greatest size can be served, unless the machine has too little
    /// memory, and that headers of proxies can come.
    fn check_agreement(&self) -> Result<(), ConfigError> {
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            let (other, range) = ("trusted_proxies none", "must be false");
            let (other, range) = (other.to_owned(), range.to_owned());
            return Err(ConfigError::disagreement(
                PROXY_PROTOCOL,
                true,
                other,
                range,
            ));
        }
        let message = self.connection.max_decoded_bytes();
        match self.max_server_decoded_bytes() {
            Some(server) if server < message => Err(ConfigError::disagreement(
                "max_server_decoded_bytes",
                server,
                format!("max_decoded_bytes {message}"),
                format!("must be at least {message}"),
            )),
            _ => Ok(()),
        }
    }

    fn amounts(&self) -> &Amounts {
        &self.amounts
    }
}

impl From<Config> for ServerConfig {
    fn from(connection: Config) -> Self {
        Self {
            connection,
            ..Self::default()
        }
    }
}

impl ServerConfigBuilder {
    /// The configuration.
    ///
    /// # Errors
    ///
    /// If a setting of the server or of connections is out of its range, if settings do not agree, or if
    /// a trusted proxy is neither an address nor a prefix. The error names the first such setting, and
    /// its range.
    pub fn build(self) -> Result<ServerConfig, ConfigError> {
        let OwnSettings {
            amounts,
            trusted_proxies,
            proxy_protocol,
        } = self.own;
        let mut rows = Amounts::ROWS.iter();
        rows.try_for_each(|row| row.check(&amounts))?;
        let trusted = trusted_proxies.map(|texts| TrustedProxies::parse(TRUSTED_PROXIES, &texts));
        let config = ServerConfig {
            connection: self.connection.build()?,
            trusted_proxies: trusted.transpose()?.unwrap_or_default(),
            proxy_protocol,
            amounts,
        };
        config.check_agreement()?;
        Ok(config)
    }

    /// Sets limits and timeouts of each connection.
    pub fn connection(mut self, config: Config) -> Self {
        self.connection = config.into();
        self
    }

    /// Addresses such as `10.0.0.7`, or prefixes such as `10.0.0.0/8` and `fd00::/8`, whose connections
    /// are not counted by host, since they come from many hosts; with
    /// [`proxy_protocol`](Self::proxy_protocol) they are counted by the host of the proxy's client. In a
    /// text they are separated by commas; `none` means no address. A file may have an array of texts.
    /// Default: this machine, `127.0.0.0/8` and `::1`; addresses that are set replace the default.
    pub fn trusted_proxies<P: Into<String>>(
        mut self,
        proxies: impl IntoIterator<Item = P>,
    ) -> Self {
        let texts = proxies.into_iter().map(Into::into);
        self.own.trusted_proxies = Some(texts.collect());
        self
    }

    /// Whether each TCP connection from an address of [`trusted_proxies`](Self::trusted_proxies) begins with
    /// a header of the PROXY protocol, version 1 or 2. Default `false`.
    ///
    /// Such a connection has the address that its header names as the client's: in
    /// [`Peer::address`](crate::Peer::address) and [`Arrival::address`](crate::Arrival::address), in events
    /// and in the log. It is counted by the client's host, and may be refused once the header has come. A
    /// connection of the proxy itself (LOCAL, UNKNOWN), or of a client that has no IP address, keeps the
    /// proxy's address and is not counted.
    ///
    /// The header must be whole within the `handshake_timeout`, and has at most 4 KiB. A connection of a
    /// trusted proxy without it is closed, and [`PeerEvent::ProxyHeaderFailed`] says why. Connections from
    /// other addresses must not have it: anybody could forge it. So programs on this machine that connect
    /// directly, or proxies that send no header, must not be among the trusted proxies, as this machine is by
    /// default.
    ///
    /// [`PeerEvent::ProxyHeaderFailed`]: crate::PeerEvent::ProxyHeaderFailed
    pub fn proxy_protocol(mut self, proxy_protocol: bool) -> Self {
        self.own.proxy_protocol = proxy_protocol;
        self
    }

    /// Sets the setting of this name, of the server or of its connections, from a text. See
    /// [`ConfigBuilder::set`].
    ///
    /// # Errors
    ///
    /// If there is no such setting, if the text is not one of its values, or if the value is out of its
    /// range.
    pub fn set(mut self, name: &str, text: &str) -> Result<Self, ConfigError> {
        wawo_settings::set(&mut self, name, text)?;
        Ok(self)
    }

    /// Sets each setting that has a variable in the environment. For a setting of the server this is
    /// `WAWO_SERVER_` and its name in capitals, such as `WAWO_SERVER_MAX_CONNECTIONS`; for one of
    /// connections see [`ConfigBuilder::read_env`]. Variables that begin with `WAWO_RECONNECT_` are for
    /// [`ReconnectBuilder::read_env`].
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set). Any other variable that begins with `WAWO_` is an error too, which names
    /// the setting's variable that is most similar.
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
        let all: Vec<_> = variables.into_iter().collect();
        let variables = || all.iter().map(|(key, value)| (key, value));
        let kinds = [
            ("WAWO_SERVER_", OwnSettings::names()),
            ("WAWO_RECONNECT_", ReconnectBuilder::names()),
            ("WAWO_", ConfigBuilder::names()),
        ];
        wawo_settings::check_variables(&kinds, all.iter().map(|(key, _)| key))?;
        wawo_settings::set_from_variables(&mut self.own, "WAWO_SERVER_", &[], variables())?;
        self.connection = self.connection.read_variables(variables())?;
        Ok(self)
    }

    fn amounts_mut(&mut self) -> &mut Amounts {
        &mut self.own.amounts
    }
}

impl Settable for OwnSettings {
    fn names() -> Vec<&'static str> {
        let rows = Amounts::ROWS.iter().map(|row| row.name);
        rows.chain([TRUSTED_PROXIES, PROXY_PROTOCOL]).collect()
    }

    fn read(&mut self, name: &str, key: &str, text: &str) -> Result<(), ConfigError> {
        if let Some(row) = Amounts::ROWS.iter().find(|row| row.name == name) {
            return row.read(&mut self.amounts, key, text);
        }
        if name == PROXY_PROTOCOL {
            self.proxy_protocol = wawo_settings::switch(key, text)?;
            return Ok(());
        }
        let texts = text.split(',').map(|text| text.trim().to_owned());
        let texts = match text.trim() {
            "none" => Vec::new(),
            _ => texts.collect(),
        };
        TrustedProxies::parse(key, &texts)?;
        self.trusted_proxies = Some(texts);
        Ok(())
    }

    fn is_list(name: &str) -> bool {
        name == TRUSTED_PROXIES
    }
}

impl Settable for ServerConfigBuilder {
    fn names() -> Vec<&'static str> {
        [OwnSettings::names(), ConfigBuilder::names()].concat()
    }

    fn read(&mut self, name: &str, key: &str, text: &str) -> Result<(), ConfigError> {
        match OwnSettings::names().contains(&name) {
            true => self.own.read(name, key, text),
            false => self.connection.read(name, key, text),
        }
    }

    fn is_list(name: &str) -> bool {
        OwnSettings::is_list(name)
    }
}

/// Reads a map from names of settings, of the server and of its connections, to whole numbers or texts as
/// [`ServerConfigBuilder::set`] takes them, or, for a setting that is on or off, to `true` or `false`. The
/// trusted proxies may be an array of texts. Other names are refused.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for ServerConfigBuilder {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wawo_settings::deserialize(deserializer)
    }
}

/// Reads as a [`ServerConfigBuilder`] is read, and checks as [`ServerConfigBuilder::build`] does.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for ServerConfig {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let builder = ServerConfigBuilder::deserialize(deserializer)?;
        builder.build().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
