//! The interface by which a peer opens connections.

use std::{error::Error, future::Future};

use crate::{connection::NewConnection, transport::Address};

/// Opens the connections of one peer.
pub(crate) trait Dial: Send + Sync + 'static {
    type Error: Error + Send + Sync + 'static;

    /// Opens a transport to the address of the peer, and exchanges the hellos. It is bounded in time.
    /// `elsewhere` is another address, to which the other side has sent this one.
    fn dial(
        &self,
        elsewhere: Option<&Address>,
    ) -> impl Future<Output = Result<NewConnection, Self::Error>> + Send;

    /// Whether the other side may send this one to that address.
    fn may_move_to(&self, elsewhere: &Address) -> bool;
}
