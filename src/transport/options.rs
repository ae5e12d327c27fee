//! Settings of sockets.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use thiserror::Error;

/// Settings of the sockets that a server listens at and accepts, or that a peer is connected by:
/// [`ServerBuilder::socket_options`], [`PeerBuilder::socket_options`].
///
/// | setting | default | for |
/// |---|---|---|
/// | [`backlog`](Self::backlog) | 1,024 | listening at TCP and Unix sockets |
/// | [`nodelay`](Self::nodelay) | `true` | TCP, both sides |
/// | [`tcp_keep_alive`](Self::tcp_keep_alive) | off | TCP, both sides |
/// | [`unix_mode`](Self::unix_mode) | `0o600` | listening at Unix sockets by path |
/// | [`abstract_uids`](Self::abstract_uids) | our own user | abstract Unix sockets, both sides |
/// | [`pipe_shared`](Self::pipe_shared) | `false` | listening at named pipes |
///
/// ```
/// # use std::time::Duration;
/// let options = wawo::SocketOptions::new()
///     .backlog(4096)
///     .tcp_keep_alive(Some(Duration::from_secs(60)))
///     .unix_mode(0o660);
/// let server = wawo::Server::builder().socket_options(options);
/// ```
///
/// [`ServerBuilder::socket_options`]: crate::ServerBuilder::socket_options
/// [`PeerBuilder::socket_options`]: crate::PeerBuilder::socket_options
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until a builder has them"]
pub struct SocketOptions {
    pub(crate) backlog: u32,
    pub(crate) nodelay: bool,
    pub(crate) tcp_keep_alive: Option<Duration>,
    pub(crate) unix_mode: u32,
    pub(crate) abstract_uids: AllowedUids,
    pub(crate) pipe_shared: bool,
}

/// The users whose processes may be at the other end of an abstract socket.
#[derive(Debug, Clone)]
pub(crate) enum AllowedUids {
    /// The effective user of this process.
    Own,
    These(Arc<[u32]>),
    Any,
}

/// A setting of [`SocketOptions`] that is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the socket option {setting} {reason}")]
#[non_exhaustive]
pub struct SocketOptionsError {
    /// The name of the setting.
    pub setting: &'static str,
    /// The reason why its value is wrong.
    pub reason: &'static str,
}

impl SocketOptions {
    /// Options with all settings at their defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of connections that the system keeps until they are accepted, at least 1. The system
    /// may have a lower limit of its own (on Linux `net.core.somaxconn`). Default 1,024.
    ///
    /// When the backlog is full, TCP does not reply to a new client, whose system tries again by itself.
    /// At a Unix socket of Linux, a [`Peer`](crate::Peer) waits and tries again.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Whether TCP sends at once, and not only when a packet is full or all data is acknowledged
    /// (`TCP_NODELAY`). Default `true`: a driver gathers its output itself, so waiting for more only adds
    /// delay.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Lets the system probe a TCP connection on which nothing came for this long. It probes again after
    /// each such time, until several probes got no reply. From 1 s to 32,767 s (9 hours), in whole
    /// seconds. Default `None`: off, as [`Config::keep_alive_interval`] finds a dead peer sooner. It
    /// finds a stopped process too, which still replies to probes. Use this setting where keep-alive is
    /// off.
    ///
    /// [`Config::keep_alive_interval`]: crate::Config::keep_alive_interval
    pub fn tcp_keep_alive(mut self, idle: Option<Duration>) -> Self {
        self.tcp_keep_alive = idle;
        self
    }

    /// The permissions of the file of a Unix socket, at most `0o777`; they do not depend on the umask. A
    /// process that may write to the file may connect. Default `0o600`: only the process's own user (and
    /// root).
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.unix_mode = mode;
        self
    }

    /// The users whose processes may be at the other end of an abstract Unix socket, at least one. A
    /// server closes connections of other users, and connecting to a server of another user fails. An
    /// abstract socket has no file and so no permissions. Default: the effective user of this process.
    pub fn abstract_uids(mut self, uids: impl IntoIterator<Item = u32>) -> Self {
        self.abstract_uids = AllowedUids::These(uids.into_iter().collect());
        self
    }

    /// Lets processes of all users be at the other end of an abstract Unix socket.
    pub fn any_abstract_uid(mut self) -> Self {
        self.abstract_uids = AllowedUids::Any;
        self
    }

    /// Whether several servers may listen at one named pipe, all of them with this setting, or the first
    /// without it. Windows gives each new client to one of them, so a new process can take over while the
    /// old one drains. Only processes of the same user and administrators can share a pipe. Default
    /// `false`: a name that is in use makes `bind` fail.
    pub fn pipe_shared(mut self, pipe_shared: bool) -> Self {
        self.pipe_shared = pipe_shared;
        self
    }

    pub(crate) fn check(&self) -> Result<(), SocketOptionsError> {
        let wrong = |setting, reason| Err(SocketOptionsError { setting, reason });
        if self.backlog == 0 {
            return wrong("backlog", "is 0; it must be at least 1");
        }
        if self.unix_mode > MAX_MODE {
            return wrong("unix_mode", "has more than the bits 0o777");
        }
        if let AllowedUids::These(uids) = &self.abstract_uids
            && uids.is_empty()
        {
            return wrong("abstract_uids", "is empty, so that nobody could connect");
        }
        match self.tcp_keep_alive {
            Some(idle) if !KEEP_ALIVE_SECS.contains(&idle.as_secs()) => {
                wrong("tcp_keep_alive", "must be from 1 s to 32,767 s")
            }
            _ => Ok(()),
        }
    }
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            nodelay: true,
            tcp_keep_alive: None,
            unix_mode: 0o600,
            abstract_uids: AllowedUids::Own,
            pipe_shared: false,
        }
    }
}

/// The permissions of user, group and others, which are all the bits that apply to a socket.
const MAX_MODE: u32 = 0o777;

/// The range that Linux allows, in seconds (`MAX_TCP_KEEPIDLE`).
const KEEP_ALIVE_SECS: RangeInclusive<u64> = 1..=32_767;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::SocketOptions;

    #[test]
    fn settings_are_checked_at_their_limits() {
        let new = SocketOptions::new;
        let idle = |secs| new().tcp_keep_alive(Some(Duration::from_secs(secs)));
        let nearly_1_s = Some(Duration::from_millis(999));
        for (options, wrong) in [
            (new(), None),
            (new().backlog(1), None),
            (new().backlog(u32::MAX), None),
            (new().backlog(0), Some("backlog is 0")),
            (new().unix_mode(0o777), None),
            (new().unix_mode(0o1000), Some("unix_mode has more")),
            (new().abstract_uids([7]), None),
            (new().abstract_uids([]), Some("abstract_uids is empty")),
            (new().any_abstract_uid(), None),
            (idle(1), None),
            (idle(32_767), None),
            (idle(32_768), Some("tcp_keep_alive must be")),
            (
                new().tcp_keep_alive(nearly_1_s),
                Some("tcp_keep_alive must be"),
            ),
            (
                new().tcp_keep_alive(Some(Duration::MAX)),
                Some("tcp_keep_alive must be"),
            ),
        ] {
            let error = options.check().err().map(|error| error.to_string());
            match wrong {
                None => assert_eq!(error, None),
                Some(text) => {
                    let error = error.unwrap();
                    assert!(
                        error.starts_with(&format!("the socket option {text}")),
                        "{error}"
                    );
                }
            }
        }
    }
}
