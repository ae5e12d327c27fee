//! The settings of a server about the peers that come.

use wawo_protocol::ConnectionError;

use crate::{
    identity::{Authenticate, Authenticator, CredentialsSource, ProvideCredentials},
    metrics::Metrics,
    observe::Observe,
    peer::Peer,
    server::{Protocol, ServerBuilder},
};

impl<L> ServerBuilder<L> {
    /// Serves another protocol on the ports of the server, beside wawo's own and the protocols that were
    /// added before. The first bytes of a socket decide which protocol it speaks. They have to come
    /// within the [`handshake_timeout`](crate::ConfigBuilder::handshake_timeout).
    ///
    /// Sockets whose protocol is not known yet count as connections and as
    /// [handshakes](crate::ServerConfigBuilder::max_handshakes), and take at most 16 KiB each. Transports that
    /// are given to [`Server::accept_over`](crate::Server::accept_over) speak wawo's own protocol.
    pub fn protocol(mut self, protocol: impl Protocol) -> Self {
        self.protocols.add(protocol);
        self
    }

    /// Checks who each peer is, in its handshake: nothing of it is served before. Handlers and layers then
    /// read its [identity](crate::Context::identity). Without an authenticator everyone is let in, without
    /// an identity.
    ///
    /// It applies to all sockets that speak wawo's own protocol, also to those of
    /// [`Server::accept_over`](crate::Server::accept_over) and inside of other
    /// [protocols](Self::protocol); a [custom protocol](crate::CustomProtocol) presents no credentials.
    /// Other protocols ask it by [`Gateway::authenticate`](crate::Gateway::authenticate).
    ///
    /// A peer that is refused gets the reason, as
    /// [`ConnectError::Unauthenticated`](crate::ConnectError::Unauthenticated).
    /// [`PeerEvent::NotConnected`](crate::PeerEvent::NotConnected) reports it, and at most one line a second
    /// is logged. An authenticator that takes longer than the
    /// [`handshake_timeout`](crate::ConfigBuilder::handshake_timeout), from the accept on, refuses.
    ///
    /// The page [identity](crate::guide::identity) has an example.
    pub fn authenticate(mut self, authenticate: impl Authenticate) -> Self {
        self.hello_check.authenticator = Some(Authenticator::new(authenticate));
        self
    }

    /// Sets the credentials of this side, which are asked for each time that the server answers a peer it
    /// has let in. The peer checks them by [`PeerBuilder::authenticate`](crate::PeerBuilder::authenticate).
    /// Default none.
    ///
    /// If there are none, or they exceed
    /// [`max_credentials_bytes`](crate::Config::max_credentials_bytes), the peer is closed, and the error is
    /// logged.
    pub fn credentials(mut self, provider: impl ProvideCredentials) -> Self {
        self.hello_check.credentials = Some(CredentialsSource::new(provider));
        self
    }

    /// Counts the calls, connections and peers of the server in these metrics, in place of any that were given
    /// before: calls of its peers, and calls to them. Default none.
    pub fn metrics(mut self, metrics: &Metrics) -> Self {
        self.services.observers.set_metrics(metrics);
        self
    }

    /// Lets an observer see the calls of the server, in both directions. Several see each call in the order in
    /// which they were added. Default none.
    pub fn observe(mut self, observer: impl Observe) -> Self {
        self.services.observers.add(observer);
        self
    }

    /// Runs `hook` for each peer whose handshake is through, guests too, before its first call is served:
    /// a place to set the [state](Peer::extensions) that handlers find, or to spawn a task for the peer.
    ///
    /// It runs in the task of the connection, and must not block. If it closes the peer, no call of it is
    /// served. A panic in it is logged, and closes the peer. Several run in the order in which they were
    /// added. [`PeerEvent::Connected`](crate::PeerEvent::Connected) follows.
    ///
    /// ```
    /// use wawo::{Context, Peer, Server};
    ///
    /// #[derive(Default)]
    /// struct Room(String);
    ///
    /// let server = Server::builder().on_connect(|peer: &Peer| {
    ///     peer.extensions().insert(Room("lobby".to_owned()));
    /// });
    ///
    /// fn room_of(cx: &Context) -> Option<String> {
    ///     cx.peer().extensions().get::<Room>().map(|room| room.0.clone())
    /// }
    /// ```
    pub fn on_connect(mut self, hook: impl Fn(&Peer) + Send + Sync + 'static) -> Self {
        self.hooks.add_connect(hook);
        self
    }

    /// Runs `hook` for each peer that is over, with the reason: exactly once for each peer that
    /// [`on_connect`](Self::on_connect) was run for, also when the server is dropped. No call of the peer
    /// begins after that, but handlers that run to completion may go on.
    ///
    /// It must not block, and may run in any thread. A panic in it is logged.
    /// [`PeerEvent::Disconnected`](crate::PeerEvent::Disconnected) follows.
    pub fn on_disconnect(
        mut self,
        hook: impl Fn(&Peer, &ConnectionError) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.add_disconnect(hook);
        self
    }
}
