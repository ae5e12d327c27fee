//! Opens a peer over a transport.

use std::sync::Arc;

use wawo_protocol::{Config, Side};

use crate::{
    connection::{ConnectionHandle, Driver, NewTransport, Protocol},
    decoding::DecodedTotal,
    peer::{Peer, events::EventSender, extensions::PeerExtensions, handle::Handle, link::Link},
    request::Caller,
    serve::{BoxService, inbound::Inbound},
    transport::Address,
};

/// Returns the peer at the other end of a transport, and the driver of its connection. The caller spawns
/// the driver in the runtime of the transport. The connection lasts until the peer is dropped, one side
/// closes it, or the task is aborted. `decoded` is the memory for decoded messages of all connections of
/// a server.
pub(crate) fn open(
    side: Side,
    new: NewTransport,
    address: Option<Address>,
    config: Arc<Config>,
    service: BoxService,
    event_sender: EventSender,
    decoded: Option<Arc<DecodedTotal>>,
) -> (Peer, impl Future<Output = ()>) {
    let protocol = Protocol::new(side, config.clone(), new.since);
    let inbound = Inbound::new(service, config.max_call_depth());
    let names = inbound.names().clone();
    let (handle, home) =
        Handle::new_linked(address, PeerExtensions::default(), event_sender, |owner| {
            let home = ConnectionHandle::new(side, &config, names, decoded, owner);
            (Link::Home(home.clone()), home)
        });
    let caller: Arc<dyn Caller> = handle.clone();
    let peer = Arc::downgrade(&caller);
    let driver = Driver::new(new, protocol, &config, inbound, home, peer);
    (Peer::of(handle), driver.run())
}
