//! The call that a status ended: its method, and the place that it went to.

use std::{fmt, sync::Arc};

use crate::{descriptor::MethodDescriptor, peer_id::PeerId, transport::Address};

/// The call that ended with a status. Empty in a status that a handler has made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Site {
    pub(super) method: Option<MethodDescriptor>,
    pub(super) place: CallPlace,
}

/// The place that a call went to.
#[derive(Debug, Clone, Default)]
pub(super) enum CallPlace {
    #[default]
    Unknown,
    Process,
    Address(Address),
    /// A peer without an address, by its number.
    Peer(PeerId),
    /// A connection, until the status reaches a call, which may ask the connection for an explanation.
    Carrier(Arc<dyn Carrier>),
}

/// The connection of a call, as a status needs it.
pub(crate) trait Carrier: fmt::Debug + Send + Sync {
    /// The number of the peer.
    fn id(&self) -> PeerId;

    /// The address of the peer.
    fn address(&self) -> Option<&Address>;

    /// The reason why the peer may have refused a call of this method, by its hello.
    fn explain(&self, method: &MethodDescriptor, failure: CallFailure<'_>) -> Option<String>;
}

/// The part of a status that its explanation depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallFailure<'a> {
    /// The text of the status, which the explanation does not repeat.
    pub(crate) said: &'a str,
    /// Whether no handler has seen the call.
    pub(crate) is_unserved: bool,
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

/// The text before the status, with a colon; empty if there is no call.
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
