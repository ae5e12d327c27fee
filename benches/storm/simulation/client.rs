//! A client: its connection, its try, and its back-off.

use std::time::Duration;

use wawo::Backoff;

/// When the back-off of a client begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reset {
    /// After a connection that has lasted, as wawo does.
    Stable,
    /// With each connection, which is wrong.
    EachConnection,
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) backoff: Backoff,
    /// The server that it is connected to.
    connection: Option<u32>,
    /// When the connection began, if the back-off has not counted it yet.
    up_since: Option<Duration>,
    /// The server that it dials, and since when.
    attempt: Option<(u32, Duration)>,
    /// The number of its plan; events of earlier plans do not count.
    pub(crate) plan: u32,
    /// Whether a step of the plan is to come.
    pub(crate) has_plan: bool,
}

impl Client {
    /// A client that has been connected for a long time.
    pub(crate) fn connected(backoff: Backoff, server: u32) -> Self {
        Self {
            backoff,
            connection: Some(server),
            up_since: Some(Duration::ZERO),
            attempt: None,
            plan: 0,
            has_plan: false,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    pub(crate) fn is_on(&self, server: u32) -> bool {
        self.connection == Some(server)
    }

    pub(crate) fn is_trying(&self) -> bool {
        self.attempt.is_some()
    }

    pub(crate) fn tries(&self, server: u32) -> bool {
        self.attempt.is_some_and(|(dialled, _)| dialled == server)
    }

    pub(crate) fn current_try(&self) -> Option<(u32, Duration)> {
        self.attempt
    }

    pub(crate) fn begin_try(&mut self, server: u32, now: Duration) {
        self.attempt = Some((server, now));
    }

    pub(crate) fn end_try(&mut self) {
        self.attempt = None;
    }

    /// The handshake is through.
    pub(crate) fn up(&mut self, now: Duration, reset: Reset) {
        self.connection = self.attempt.take().map(|(server, _)| server);
        (self.up_since, self.has_plan) = (Some(now), false);
        if reset == Reset::EachConnection {
            self.backoff.start_over();
        }
    }

    /// The connection is over.
    pub(crate) fn lose(&mut self) {
        self.connection = None;
    }

    /// Lets the back-off count how long the connection has lasted.
    pub(crate) fn connection_ended(&mut self, now: Duration) {
        if let Some(since) = self.up_since.take() {
            self.backoff.connection_ended(now - since);
        }
    }

    pub(crate) fn new_plan(&mut self) -> u32 {
        self.plan += 1;
        self.has_plan = true;
        self.plan
    }
}
