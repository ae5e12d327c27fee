//! Which connections a server takes: a state machine without sockets, clock or lock.
//!
//! ```text
//!          first turn         hello
//!  Fresh ───────────► Silent ───────► Open
//!    │                 │  ▲             │
//!    └──────────┬──────┘  │ has spoken  │
//!               ▼         │             │
//!             Asked ──────┘             │      Asked: whether it says anything; if not, it closes
//!               │                       │
//!               └────────► Leaving ◄────┘      Leaving: closed to make room for another
//! ```
//!
//! From everywhere it may be gone. A hello that comes while it is asked opens it too. All that is
//! done for one connection takes time in the logarithm of their number, since it is done under a
//! lock that every connection shares. Once a second at most, all of a host are looked at.

mod hosts;

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use crate::{
    peer::{Activity, ConnectionLimit},
    server::{
        admission::hosts::{Hosts, Rank},
        host::Host,
    },
};

/// How many connections a server takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// All together.
    pub(crate) connections: usize,
    /// Connections that have not sent their hello.
    pub(crate) greeting: usize,
    /// From one host.
    pub(crate) per_host: usize,
}

/// Sockets that are on their way out: made room, asked whether they say anything, or refused. They
/// last for a second at most. While there are this many, who is refused is not told why, and nobody
/// makes room.
pub(crate) const MAX_LEAVING: usize = 256;

/// The place of a connection among those that a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PlaceId(u64);

/// A connection that may come in, and who has to be told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) place: PlaceId,
    /// To be closed.
    pub(crate) makes_room: Option<PlaceId>,
    /// To be closed unless it has said something by now.
    pub(crate) asked: Option<PlaceId>,
}

/// The connections of a server.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: ConnectionLimits,
    connections: HashMap<PlaceId, Connection>,
    hosts: Hosts,
    /// Those that had no turn yet, in the order in which they came.
    fresh: BTreeSet<PlaceId>,
    /// Those that had a turn and said no hello, by when they were last looked at.
    silent: BTreeSet<(u64, PlaceId)>,
    /// How many are asked.
    asked: usize,
    /// How many make room.
    leaving: usize,
    /// How many that never got a place are being told why.
    refused: usize,
    /// Counts places, and looks at silent ones.
    last: u64,
}

#[derive(Debug)]
struct Connection {
    /// `None` if it is not counted by host.
    host: Option<Host>,
    rank: Rank,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its driver did not run yet.
    Fresh,
    /// It said no hello; the number is its key among the silent.
    Silent(u64),
    /// Its driver was asked whether it has said anything.
    Asked,
    Open,
    /// It makes room, and is not counted any more.
    Leaving,
}

impl Admission {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            connections: HashMap::new(),
            hosts: Hosts::default(),
            fresh: BTreeSet::new(),
            silent: BTreeSet::new(),
            asked: 0,
            leaving: 0,
            refused: 0,
            last: 0,
        }
    }

    pub(crate) fn limits(&self) -> &ConnectionLimits {
        &self.limits
    }

    /// Takes a connection in, if the limits allow it or another makes room. `activity` tells how
    /// much a connection is used now.
    ///
    /// # Errors
    ///
    /// The limit that keeps it out.
    pub(crate) fn admit(
        &mut self,
        host: Option<Host>,
        now: Instant,
        activity: impl Fn(PlaceId) -> Activity,
    ) -> Result<Admitted, ConnectionLimit> {
        if host.is_some_and(|host| self.hosts.count(host) >= self.limits.per_host) {
            return Err(ConnectionLimit::MaxConnectionsPerHost);
        }
        let is_silence_full = self.greeting() >= self.limits.greeting;
        if is_silence_full && self.are_many_leaving() {
            return Err(ConnectionLimit::MaxGreeting);
        }
        let makes_room = match self.count() < self.limits.connections {
            true => None,
            false => Some(self.make_room(host, now, activity)?),
        };
        // The one that makes room may have been the last silent one.
        let asked = match self.greeting() >= self.limits.greeting {
            true => self.ask_oldest(),
            false => None,
        };
        let place = self.add(host, now);
        Ok(Admitted {
            place,
            makes_room,
            asked,
        })
    }

    /// Takes in a connection that the program itself has opened: no limit holds for it, and it is
    /// not counted by host.
    pub(crate) fn admit_own(&mut self, now: Instant) -> PlaceId {
        self.add(None, now)
    }

    fn add(&mut self, host: Option<Host>, now: Instant) -> PlaceId {
        self.last += 1;
        let place = PlaceId(self.last);
        let connection = Connection {
            host,
            rank: Rank::new(now),
            phase: Phase::Fresh,
        };
        if let Some(host) = host {
            self.hosts.join(host, connection.rank, place);
        }
        self.connections.insert(place, connection);
        self.fresh.insert(place);
        place
    }

    /// All that may be accepted wait for their first turn: to accept more would only make these
    /// wait longer.
    pub(crate) fn waits_for_turns(&self) -> bool {
        self.silent.is_empty() && self.fresh.len() >= self.limits.greeting
    }

    /// A connection had its first turn, and its hello was not there. Returns one to ask, if there
    /// are more of these than there may be.
    pub(crate) fn is_silent(&mut self, place: PlaceId) -> Option<PlaceId> {
        self.fall_silent(place, Phase::Fresh)
    }

    /// A connection that was asked has said something since the last time, though not all of its
    /// hello. Returns another to ask, if there are more than there may be. This one comes to its
    /// turn again after all others, and has to have said something more by then.
    pub(crate) fn has_spoken(&mut self, place: PlaceId) -> Option<PlaceId> {
        self.fall_silent(place, Phase::Asked)
    }

    fn fall_silent(&mut self, place: PlaceId, from: Phase) -> Option<PlaceId> {
        if self.phase(place) == Some(from) {
            self.last += 1;
            self.silent.insert((self.last, place));
            self.set_phase(place, Phase::Silent(self.last));
        }
        let oldest = self.silent.first().map(|(_, place)| *place);
        let is_over = self.greeting() > self.limits.greeting;
        let asked = oldest.filter(|oldest| is_over && *oldest != place)?;
        self.set_phase(asked, Phase::Asked);
        Some(asked)
    }

    /// The hello of a connection has come.
    pub(crate) fn greeted(&mut self, place: PlaceId) {
        if self.phase(place) != Some(Phase::Leaving) {
            self.set_phase(place, Phase::Open);
        }
    }

    /// A connection is over.
    pub(crate) fn gone(&mut self, place: PlaceId) {
        self.set_phase(place, Phase::Open);
        if let Some(connection) = self.connections.remove(&place)
            && let Some(host) = connection.host
        {
            self.hosts.leave(host, connection.rank, place);
        }
    }

    /// Whether a connection makes room for another.
    pub(crate) fn is_leaving(&self, place: PlaceId) -> bool {
        self.phase(place) == Some(Phase::Leaving)
    }

    /// Whether one that is refused may be told why; then [`told`](Self::told) has to follow.
    pub(crate) fn may_tell(&mut self) -> bool {
        let may_tell = !self.are_many_leaving();
        self.refused += usize::from(may_tell);
        may_tell
    }

    /// One that was refused has gone.
    pub(crate) fn told(&mut self) {
        self.refused -= 1;
    }

    /// Connections that count.
    fn count(&self) -> usize {
        self.connections.len() - self.leaving
    }

    /// Those of them that said no hello, and are not asked already.
    fn greeting(&self) -> usize {
        self.fresh.len() + self.silent.len()
    }

    fn are_many_leaving(&self) -> bool {
        self.asked + self.leaving + self.refused >= MAX_LEAVING
    }

    /// Asks the one that has been silent for the longest time; one that had no turn yet only if
    /// there is no other.
    fn ask_oldest(&mut self) -> Option<PlaceId> {
        let silent = self.silent.first().map(|(_, place)| *place);
        let oldest = silent.or_else(|| self.fresh.first().copied())?;
        self.set_phase(oldest, Phase::Asked);
        Some(oldest)
    }

    /// Finds a connection of the host that has the most, if those are more than its share. The
    /// share counts the host of the newcomer too.
    fn make_room(
        &mut self,
        newcomer: Option<Host>,
        now: Instant,
        activity: impl Fn(PlaceId) -> Activity,
    ) -> Result<PlaceId, ConnectionLimit> {
        let full = ConnectionLimit::MaxConnections;
        let is_new = newcomer.is_some_and(|host| self.hosts.count(host) == 0);
        let hosts = self.hosts.len() + usize::from(is_new);
        let share = (self.limits.connections / hosts.max(1)).max(1);
        let (count, host) = self.hosts.busiest().ok_or(full)?;
        if count <= share || self.are_many_leaving() {
            return Err(full);
        }
        let connections = &mut self.connections;
        let idlest = self.hosts.idlest(host, now, |place, rank| {
            let rank = rank.at(activity(place));
            if let Some(connection) = connections.get_mut(&place) {
                connection.rank = rank;
            }
            rank
        });
        let place = idlest.ok_or(full)?;
        self.leave(place);
        Ok(place)
    }

    /// It counts no more, neither as a connection nor for its host.
    fn leave(&mut self, place: PlaceId) {
        self.set_phase(place, Phase::Leaving);
        if let Some(connection) = self.connections.get_mut(&place)
            && let Some(host) = connection.host.take()
        {
            self.hosts.leave(host, connection.rank, place);
        }
    }

    fn phase(&self, place: PlaceId) -> Option<Phase> {
        self.connections
            .get(&place)
            .map(|connection| connection.phase)
    }

    /// Moves a connection to a phase, and out of what holds those of the phase before.
    fn set_phase(&mut self, place: PlaceId, phase: Phase) {
        let Some(connection) = self.connections.get_mut(&place) else {
            return;
        };
        match std::mem::replace(&mut connection.phase, phase) {
            Phase::Fresh => drop(self.fresh.remove(&place)),
            Phase::Silent(key) => drop(self.silent.remove(&(key, place))),
            Phase::Asked => self.asked -= 1,
            Phase::Leaving => self.leaving -= 1,
            Phase::Open => {}
        }
        match phase {
            Phase::Asked => self.asked += 1,
            Phase::Leaving => self.leaving += 1,
            Phase::Fresh | Phase::Silent(_) | Phase::Open => {}
        }
    }
}

#[cfg(test)]
mod tests;
