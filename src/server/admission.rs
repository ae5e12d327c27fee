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
mod place_id;

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use crate::{
    connection::Activity,
    peer::ConnectionLimit,
    server::{
        admission::hosts::{Hosts, Rank},
        host::Host,
    },
};

pub(crate) use crate::server::admission::place_id::PlaceId;

/// How many connections a server takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// All together.
    pub(crate) connections: usize,
    /// Connections that have not sent their hello.
    pub(crate) handshakes: usize,
    /// From one host.
    pub(crate) per_host: usize,
}

/// Sockets that are on their way out: made room, asked whether they say anything, or refused. They
/// last for a second at most. While there are this many, who is refused is not told why, and nobody
/// makes room.
pub(crate) const MAX_LEAVING: usize = 256;

/// A connection that may come in, and who has to be told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AdmissionResult {
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
    connections: HashMap<PlaceId, ConnectionEntry>,
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
struct ConnectionEntry {
    /// `None` if it is not counted by host.
    host: Option<Host>,
    rank: Rank,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
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
    ) -> Result<AdmissionResult, ConnectionLimit> {
        if host.is_some_and(|host| self.hosts.count(host) >= self.limits.per_host) {
            return Err(ConnectionLimit::MaxConnectionsPerHost);
        }
        let is_silence_full = self.handshakes() >= self.limits.handshakes;
        if is_silence_full && self.are_many_leaving() {
            return Err(ConnectionLimit::MaxHandshakes);
        }
        let makes_room = match self.count() < self.limits.connections {
            true => None,
            false => Some(self.make_room(host, now, activity)?),
        };
        // The one that makes room may have been the last silent one.
        let asked = match self.handshakes() >= self.limits.handshakes {
            true => self.ask_oldest(),
            false => None,
        };
        let place = self.add(host, now);
        Ok(AdmissionResult {
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
        let connection = ConnectionEntry {
            host,
            rank: Rank::new(now),
            progress: Progress::Fresh,
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
    pub(crate) fn awaits_first_polls(&self) -> bool {
        self.silent.is_empty() && self.fresh.len() >= self.limits.handshakes
    }

    /// A connection had its first turn, and its hello was not there. Returns one to ask, if there
    /// are more of these than there may be.
    pub(crate) fn is_silent(&mut self, place: PlaceId) -> Option<PlaceId> {
        self.fall_silent(place, Progress::Fresh)
    }

    /// A connection that was asked has said something since the last time, though not all of its
    /// hello. Returns another to ask, if there are more than there may be. This one comes to its
    /// turn again after all others, and has to have said something more by then.
    pub(crate) fn has_spoken(&mut self, place: PlaceId) -> Option<PlaceId> {
        self.fall_silent(place, Progress::Asked)
    }

    fn fall_silent(&mut self, place: PlaceId, from: Progress) -> Option<PlaceId> {
        if self.progress(place) == Some(from) {
            self.last += 1;
            self.silent.insert((self.last, place));
            self.set_progress(place, Progress::Silent(self.last));
        }
        let oldest = self.silent.first().map(|(_, place)| *place);
        let is_over = self.handshakes() > self.limits.handshakes;
        let asked = oldest.filter(|oldest| is_over && *oldest != place)?;
        self.set_progress(asked, Progress::Asked);
        Some(asked)
    }

    /// The hello of a connection has come.
    pub(crate) fn handshake_done(&mut self, place: PlaceId) {
        if self.progress(place) != Some(Progress::Leaving) {
            self.set_progress(place, Progress::Open);
        }
    }

    /// A connection is over.
    pub(crate) fn remove(&mut self, place: PlaceId) {
        self.set_progress(place, Progress::Open);
        if let Some(connection) = self.connections.remove(&place)
            && let Some(host) = connection.host
        {
            self.hosts.leave(host, connection.rank, place);
        }
    }

    /// Whether a connection makes room for another.
    pub(crate) fn is_leaving(&self, place: PlaceId) -> bool {
        self.progress(place) == Some(Progress::Leaving)
    }

    /// Whether one that is refused may be told why; then [`explained`](Self::explained) has to follow.
    pub(crate) fn may_explain(&mut self) -> bool {
        let may_explain = !self.are_many_leaving();
        self.refused += usize::from(may_explain);
        may_explain
    }

    /// One that was refused has gone.
    pub(crate) fn explained(&mut self) {
        self.refused -= 1;
    }

    /// Connections that count.
    fn count(&self) -> usize {
        self.connections.len() - self.leaving
    }

    /// Those of them that said no hello, and are not asked already.
    fn handshakes(&self) -> usize {
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
        self.set_progress(oldest, Progress::Asked);
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
        self.set_progress(place, Progress::Leaving);
        if let Some(connection) = self.connections.get_mut(&place)
            && let Some(host) = connection.host.take()
        {
            self.hosts.leave(host, connection.rank, place);
        }
    }

    fn progress(&self, place: PlaceId) -> Option<Progress> {
        self.connections
            .get(&place)
            .map(|connection| connection.progress)
    }

    /// Moves a connection to a state, and out of the set for the state before.
    fn set_progress(&mut self, place: PlaceId, progress: Progress) {
        let Some(connection) = self.connections.get_mut(&place) else {
            return;
        };
        match std::mem::replace(&mut connection.progress, progress) {
            Progress::Fresh => drop(self.fresh.remove(&place)),
            Progress::Silent(key) => drop(self.silent.remove(&(key, place))),
            Progress::Asked => self.asked -= 1,
            Progress::Leaving => self.leaving -= 1,
            Progress::Open => {}
        }
        match progress {
            Progress::Asked => self.asked += 1,
            Progress::Leaving => self.leaving += 1,
            Progress::Fresh | Progress::Silent(_) | Progress::Open => {}
        }
    }
}

#[cfg(test)]
mod tests;
