//! Which call a status ended, and where that call went.

use std::{fmt, sync::Arc};

use crate::{descriptor::MethodDescriptor, peer_id::PeerId, transport::Address};

/// The call that ended with a status. Empty in a status that a handler made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Site {
    pub(super) method: Option<MethodDescriptor>,
    pub(super) place: CallPlace,
}

/// Where a call went.
#[derive(Debug, Clone, Default)]
pub(super) enum CallPlace {
    #[default]
    Unknown,
    Process,
    Address(Address),
    /// A peer without an address, by its number.
    Peer(PeerId),
    /// A connection, until the status reaches a call, which may ask it for an explanation.
    Carrier(Arc<dyn Carrier>),
}

/// A connection, as far as a status tells of it.
pub(crate) trait Carrier: fmt::Debug + Send + Sync {
    /// The number of the peer.
    fn id(&self) -> PeerId;

    /// The address of the peer.
    fn address(&self) -> Option<&Address>;

    /// Why the peer may have refused a call of this method, as far as its hello tells. `said` is
    /// the text of its status, which the explanation does not repeat.
    fn explain(&self, method: &MethodDescriptor, said: &str) -> Option<String>;
}

impl Site {
    pub(super) fn address(&self) -> Option<&Address> {
        match &self.place {
            CallPlace::Address(address) => Some(address),
            CallPlace::Carrier(carrier) => carrier.address(),
            CallPlace::Unknown | CallPlace::Process | CallPlace::Peer(_) => None,
        }
    }
}

/// Empty, or what stands before the status, with the colon.
impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.method, &self.place) {
            (None, CallPlace::Unknown | CallPlace::Process) => return Ok(()),
            (None, place) => write!(f, "a call{place}")?,
            (Some(method), place) => write!(f, "{method}{place}")?,
        }
        f.write_str(": ")
    }
}

impl fmt::Display for CallPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::Process => f.write_str(" in this process"),
            Self::Address(address) => write!(f, " at {address}"),
            Self::Peer(id) => write!(f, " at peer {id}"),
            Self::Carrier(carrier) => match carrier.address() {
                Some(address) => write!(f, " at {address}"),
                None => write!(f, " at peer {}", carrier.id()),
            },
        }
    }
}
