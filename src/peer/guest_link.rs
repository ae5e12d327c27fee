//! The link from the code that serves a guest to the guest's peer.

use std::sync::{Arc, Weak};

use wawo_protocol::{CloseCode, Config, ConnectionError, Side};

use crate::{
    decoding::DecodedTotal,
    observe::FarEnd,
    peer::{
        Peer,
        events::EventSender,
        guest::{GuestControl, GuestInfo, GuestState, IN_PROCESS},
        handle::Handle,
        link::Link,
    },
    request::Caller,
    serve::inbound::Origin,
};

/// The handle of a guest's peer for the code that serves the guest. Dropping it ends the peer.
#[derive(Debug)]
pub(crate) struct GuestLink {
    handle: Arc<Handle>,
    guest: Arc<GuestState>,
}

impl GuestLink {
    /// A new guest. No event of it is sent before [`announce`](Self::announce).
    ///
    /// Of `config`, the limits on calls in flight and on decoded messages apply. `server` is the memory
    /// for decoded messages of all connections of a server.
    pub(crate) fn new(
        mut info: GuestInfo,
        config: &Config,
        server: Option<Arc<DecodedTotal>>,
        event_sender: EventSender,
        control: Weak<dyn GuestControl>,
    ) -> Self {
        let address = info.address.take();
        let extensions = std::mem::take(&mut info.extensions);
        let observers = info.observers.take();
        let observers = observers.map(|observers| (observers, Side::Accepting));
        let (handle, guest) =
            Handle::new_linked(address, extensions, event_sender, observers, |owner| {
                let guest = GuestState::new(info, config, server, owner, control);
                let guest = Arc::new(guest);
                (Link::Guest(guest.clone()), guest)
            });
        Self { handle, guest }
    }

    /// Sends the event that the peer is connected, and those of changes since. Called once.
    pub(crate) fn announce(&self) {
        self.guest.announce();
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::of(self.handle.clone())
    }

    /// The peer, which requests of the guest carry.
    pub(crate) fn caller(&self) -> Arc<dyn Caller> {
        self.handle.clone()
    }

    /// The origin of the guest's calls. It refuses calls while the peer drains or is closed, and calls
    /// above `max_calls`.
    pub(crate) fn origin(&self) -> Arc<dyn Origin> {
        self.guest.clone()
    }

    /// The guest, as observers of its calls see it.
    pub(crate) fn far_end(&self) -> FarEnd {
        self.guest.far_end()
    }

    /// Records that the guest's connection is over. Its
    /// [`GuestControl`] is not called. Nothing happens if the peer is closed already.
    pub(crate) fn end(&self, error: &ConnectionError) {
        self.guest.end(error);
    }
}

impl Drop for GuestLink {
    fn drop(&mut self) {
        self.guest.end(&ConnectionError::ClosedHere);
    }
}

/// The peer of callers in this process: its connection is over from the beginning.
pub(super) fn in_process() -> Peer {
    #[derive(Debug)]
    struct Nobody;

    impl GuestControl for Nobody {
        fn drain(&self) {}

        fn close(&self, _: CloseCode, _: &str) {}

        fn done(&self) {}
    }

    let info = GuestInfo::new(IN_PROCESS.into());
    let control = Weak::<Nobody>::new();
    let config = Config::default();
    GuestLink::new(info, &config, None, EventSender::default(), control).peer()
}

#[cfg(test)]
mod tests;
