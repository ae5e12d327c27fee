//! Makes a peer that is reached over a connection.

use std::sync::Arc;

use wawo_protocol::{Config, Side};

use crate::{
    connection::{ConnectionHandle, Driver, NewTransport, Protocol},
    decoding::DecodedTotal,
    peer::{
        Peer,
        events::EventSender,
        handle::{Handle, Link},
        state::PeerState,
    },
    request::Caller,
    serve::{BoxService, inbound::Inbound},
    transport::Address,
};

/// The peer at the other end of a transport, and the driver of the connection to it, to be spawned
/// in the runtime of the transport. The connection lasts until the peer is dropped, one side closes
/// it, or the task is aborted. `decoded` is the memory for decoded messages of all connections of a
/// server.
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
    let handle = Arc::new_cyclic(|handle| {
        let state = Arc::new(PeerState::new(address, event_sender, handle.clone()));
        let home = ConnectionHandle::new(side, &config, names, decoded, state.clone());
        Handle::new(state, Link::Home(home))
    });
    let Link::Home(home) = handle.link() else {
        unreachable!("it was made so");
    };
    let caller: Arc<dyn Caller> = handle.clone();
    let peer = Arc::downgrade(&caller);
    let driver = Driver::new(new, protocol, &config, inbound, home.clone(), peer);
    (Peer::of(handle), driver.run())
}
