//! The settings of a server about the peers that come.

use wawo_protocol::ConnectionError;

use crate::{peer::Peer, server::ServerBuilder};

impl<L> ServerBuilder<L> {
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
