//! The faults of a plan.

use std::time::Duration;

use crate::{plan::BUSY, random::Random};

#[derive(Debug, Clone, Copy)]
pub(crate) struct PlannedFault {
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
}

/// A fault of a client's current link, or of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Both ends notice at once that these directions are gone; bytes on their way are lost.
    Cut { client: usize, sides: Sides },
    /// Bytes written in these directions vanish, and nobody notices.
    HalfOpen { client: usize, sides: Sides },
    /// Nothing arrives for a time; then everything does.
    Stall {
        client: usize,
        sides: Sides,
        time: Duration,
    },
    /// From now on, bytes written in these directions arrive changed, if the connection speaks TLS.
    /// Nothing protects the bytes of others.
    Corrupt { client: usize, sides: Sides },
    /// One end closes the connection, with calls in flight.
    Close { client: usize, by: Side },
    /// The server is down for a time, and loses all its connections.
    Restart { down: Duration },
}

/// The directions of a link, by their writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sides {
    Both,
    Only(Side),
}

/// An end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Sides {
    pub(crate) fn contains(self, side: Side) -> bool {
        match self {
            Self::Both => true,
            Self::Only(only) => only == side,
        }
    }
}

/// The longest stall.
pub(crate) const MAX_STALL: Duration = Duration::from_millis(2500);

pub(crate) fn plan(random: &mut Random, clients: usize) -> Vec<PlannedFault> {
    let count = random.within(1..=6);
    let mut faults: Vec<_> = (0..count)
        .map(|_| PlannedFault {
            at: random.millis(0..=BUSY.as_millis() as u64),
            fault: fault(random, clients),
        })
        .collect();
    faults.sort_by_key(|fault| fault.at);
    faults
}

fn fault(random: &mut Random, clients: usize) -> Fault {
    let client = random.within(0..=clients as u64 - 1) as usize;
    let sides = random.one_of(&[
        Sides::Both,
        Sides::Only(Side::Client),
        Sides::Only(Side::Server),
    ]);
    match random.within(0..=13) {
        0..=2 => Fault::Cut { client, sides },
        3 | 4 => Fault::HalfOpen { client, sides },
        5 | 6 => Fault::Close {
            client,
            by: random.one_of(&[Side::Client, Side::Server]),
        },
        7..=9 => Fault::Stall {
            client,
            sides,
            time: random.millis(10..=MAX_STALL.as_millis() as u64),
        },
        10 | 11 => Fault::Corrupt { client, sides },
        _ => Fault::Restart {
            down: random.millis(1..=1000),
        },
    }
}
