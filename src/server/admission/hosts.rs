//! Hosts by how many connections they have, and their connections by how idle they are.

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use crate::server::{admission::PlaceId, host::Host};

/// How much a connection is used; the least used one comes first. One that never had a call comes
/// before all that had, and of these the one that has been idle for the longest time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    last_call: Option<Instant>,
    since: Instant,
}

impl Rank {
    /// Of a connection that comes now.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            last_call: None,
            since: now,
        }
    }

    /// The same connection, with its last call.
    pub(crate) fn at(self, last_call: Option<Instant>) -> Self {
        Self { last_call, ..self }
    }
}

/// Connections look at the clock for themselves, so their order here may be old. This many are
/// looked at anew, so that one search stays short; the rest waits for the next ones.
const MAX_LOOKS: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Hosts {
    connections: HashMap<Host, BTreeSet<(Rank, PlaceId)>>,
    by_count: BTreeSet<(usize, Host)>,
}

impl Hosts {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// How many connections a host has.
    pub(crate) fn count(&self, host: Host) -> usize {
        self.connections.get(&host).map_or(0, BTreeSet::len)
    }

    /// The host with the most connections, and how many.
    pub(crate) fn busiest(&self) -> Option<(usize, Host)> {
        self.by_count.last().copied()
    }

    pub(crate) fn join(&mut self, host: Host, rank: Rank, place: PlaceId) {
        let before = self.count(host);
        self.connections
            .entry(host)
            .or_default()
            .insert((rank, place));
        self.recount(host, before);
    }

    pub(crate) fn leave(&mut self, host: Host, rank: Rank, place: PlaceId) {
        let before = self.count(host);
        if let Some(connections) = self.connections.get_mut(&host) {
            connections.remove(&(rank, place));
            if connections.is_empty() {
                self.connections.remove(&host);
            }
        }
        self.recount(host, before);
    }

    fn recount(&mut self, host: Host, before: usize) {
        self.by_count.remove(&(before, host));
        let count = self.count(host);
        if count > 0 {
            self.by_count.insert((count, host));
        }
    }

    /// The connection of a host that is used the least. `rank` tells how much one is used now.
    pub(crate) fn idlest(
        &mut self,
        host: Host,
        mut rank: impl FnMut(PlaceId, Rank) -> Rank,
    ) -> Option<PlaceId> {
        let connections = self.connections.get_mut(&host)?;
        for _ in 0..MAX_LOOKS {
            let (before, place) = *connections.first()?;
            let now = rank(place, before);
            if now == before {
                return Some(place);
            }
            connections.remove(&(before, place));
            connections.insert((now, place));
        }
        connections.first().map(|(_, place)| *place)
    }
}
