//! The state machine that decides which connections a server takes. It has no sockets, clock or lock.
//!
//! ```text
//!          first poll         hello
//!  Fresh ───────────► Silent ───────► Open    (at once, if the program has opened it itself)
//!    │                 │  ▲             │
//!    └──────────┬──────┘  │ has spoken  │
//!               ▼         │             │
//!             Asked ──────┘             │      Asked: whether it says anything; if not, it closes
//!               │                       │
//!               └────────► Leaving ◄────┘      Leaving: closed to make room for another
//! ```
//!
//! From every state a connection may end. A hello that comes in `Asked` opens it too. Each operation on
//! one connection takes time in the logarithm of their number, because it runs under a lock that all
//! connections share. At most once a second, all connections of one host are looked at.

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
        host::{Host, Newcomer},
    },
};

pub(crate) use crate::server::admission::place_id::PlaceId;

/// The limits on the connections of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// How many connections there may be in all.
    pub(crate) connections: usize,
    /// How many connections may be without a hello.
    pub(crate) handshakes: usize,
    /// How many connections one host may have.
    pub(crate) per_host: usize,
}

/// How many sockets may be leaving at a time: those that make room and those that were asked whether they
/// say anything; and how many that have no place may be told why. Each leaves within a second. While this
/// many are leaving, no connection makes room. The two are counted apart, so that sockets that linger when
/// they are refused do not keep others out.
pub(crate) const MAX_LEAVING: usize = 256;

/// The place of an admitted connection, and the connections to close, or to ask, because of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AdmissionResult {
    pub(crate) place: PlaceId,
    /// The connection to close.
    pub(crate) makes_room: Option<PlaceId>,
    /// The connection to close unless it has sent anything by now.
    pub(crate) asked: Option<PlaceId>,
}

/// The connections of a server, by how far they have come.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: ConnectionLimits,
    connections: HashMap<PlaceId, ConnectionEntry>,
    hosts: Hosts,
    /// Connections whose handshake did not run yet, in the order in which they came.
    fresh: BTreeSet<PlaceId>,
    /// Connections whose handshake has run and got no hello, by when they were last looked at.
    silent: BTreeSet<(u64, PlaceId)>,
    /// The number of connections in `Asked`.
    asked: usize,
    /// The number of connections in `Leaving`.
    leaving: usize,
    /// The number of refused connections that are being told why.
    refused: usize,
    /// The number that was given last, to a place or to a look at a silent connection.
    last: u64,
}

#[derive(Debug)]
struct ConnectionEntry {
    /// The host; `None` if the connection is not counted by host.
    host: Option<Host>,
    rank: Rank,
    state: PlaceState,
}

/// How far a connection has come; see the picture above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlaceState {
    /// Its handshake did not run yet.
    Fresh,
    /// Its hello has not come; the number is its key in `silent`.
    Silent(u64),
    /// Its handshake was asked whether any bytes have come.
    Asked,
    Open,
    /// It makes room for another, and does not count any more.
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

    /// Admits a connection, if the limits allow it or another makes room. `activity` returns how much a
    /// connection is used now.
    ///
    /// # Errors
    ///
    /// The limit that refuses it.
    pub(crate) fn admit(
        &mut self,
        newcomer: Newcomer,
        now: Instant,
        activity: impl Fn(PlaceId) -> Activity,
    ) -> Result<AdmissionResult, ConnectionLimit> {
        let host = match newcomer {
            Newcomer::Of(host) => Some(host),
            Newcomer::Uncounted | Newcomer::Proxied => None,
        };
        self.check_host(host)?;
        let is_silence_full = self.handshakes() >= self.limits.handshakes;
        if is_silence_full && self.are_many_leaving() {
            return Err(ConnectionLimit::MaxHandshakes);
        }
        let makes_room = match self.count() < self.limits.connections {
            true => None,
            false => Some(self.make_room(newcomer, now, activity)?),
        };
        // The connection that makes room may have been the one without a hello that was one too many.
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

    /// Records the host of a connection that came through a proxy. It counts for the host from now on.
    ///
    /// # Errors
    ///
    /// If the host has too many connections.
    pub(crate) fn set_host(
        &mut self,
        place: PlaceId,
        host: Option<Host>,
    ) -> Result<(), ConnectionLimit> {
        // A connection that makes room for another counts for no host any more.
        if self.is_leaving(place) {
            return Ok(());
        }
        self.check_host(host)?;
        if let Some(connection) = self.connections.get_mut(&place)
            && let Some(host) = host
        {
            connection.host = Some(host);
            self.hosts.join(host, connection.rank, place);
        }
        Ok(())
    }

    /// # Errors
    ///
    /// If the host may have no more connections.
    fn check_host(&self, host: Option<Host>) -> Result<(), ConnectionLimit> {
        match host.is_some_and(|host| self.hosts.count(host) >= self.limits.per_host) {
            true => Err(ConnectionLimit::MaxConnectionsPerHost),
            false => Ok(()),
        }
    }

    /// Admits a connection that the program itself has opened: no limit applies to it, and it is not
    /// counted by host. There is a peer at once, so it counts as open.
    pub(crate) fn admit_own(&mut self, now: Instant) -> PlaceId {
        let place = self.add(None, now);
        self.set_state(place, PlaceState::Open);
        place
    }

    fn add(&mut self, host: Option<Host>, now: Instant) -> PlaceId {
        self.last += 1;
        let place = PlaceId(self.last);
        let connection = ConnectionEntry {
            host,
            rank: Rank::new(now),
            state: PlaceState::Fresh,
        };
        if let Some(host) = host {
            self.hosts.join(host, connection.rank, place);
        }
        self.connections.insert(place, connection);
        self.fresh.insert(place);
        place
    }

    /// Whether all connections that may be accepted wait for the first run of their handshake. To accept more
    /// would only make these wait longer.
    pub(crate) fn awaits_first_polls(&self) -> bool {
        self.silent.is_empty() && self.fresh.len() >= self.limits.handshakes
    }

    /// Records that a handshake has run for the first time and has to wait. Returns a connection
    /// to ask, if there are too many without a hello.
    pub(crate) fn is_silent(&mut self, place: PlaceId) -> Option<PlaceId> {
        self.fall_silent(place, PlaceState::Fresh)
    }

    /// Records that a connection which was asked has sent bytes since the last time, though not its whole
    /// hello. Returns another to ask, if there are too many without a hello. This one is asked again
    /// after all others, and must have sent more by then.
    pub(crate) fn has_spoken(&mut self, place: PlaceId) -> Option<PlaceId> {
        self.fall_silent(place, PlaceState::Asked)
    }

    fn fall_silent(&mut self, place: PlaceId, from: PlaceState) -> Option<PlaceId> {
        if self.state(place) == Some(from) {
            self.last += 1;
            self.silent.insert((self.last, place));
            self.set_state(place, PlaceState::Silent(self.last));
        }
        let oldest = self.silent.first().map(|(_, place)| *place);
        let is_over = self.handshakes() > self.limits.handshakes;
        let asked = oldest.filter(|oldest| is_over && *oldest != place)?;
        self.set_state(asked, PlaceState::Asked);
        Some(asked)
    }

    /// Records that the hello of a connection has come.
    pub(crate) fn handshake_done(&mut self, place: PlaceId) {
        if self.state(place) != Some(PlaceState::Leaving) {
            self.set_state(place, PlaceState::Open);
        }
    }

    /// Removes a connection that is over.
    pub(crate) fn remove(&mut self, place: PlaceId) {
        // Nothing counts or lists open connections, so this takes it out of all counts and sets.
        self.set_state(place, PlaceState::Open);
        if let Some(connection) = self.connections.remove(&place)
            && let Some(host) = connection.host
        {
            self.hosts.leave(host, connection.rank, place);
        }
    }

    /// Whether a connection makes room for another.
    pub(crate) fn is_leaving(&self, place: PlaceId) -> bool {
        self.state(place) == Some(PlaceState::Leaving)
    }

    /// Whether a refused connection may be told why. If so, [`explained`](Self::explained) has to follow.
    pub(crate) fn may_explain(&mut self) -> bool {
        let may_explain = self.refused < MAX_LEAVING;
        self.refused += usize::from(may_explain);
        may_explain
    }

    /// Records that a refused connection has been told why, and is closed.
    pub(crate) fn explained(&mut self) {
        self.refused -= 1;
    }

    /// The number of connections that count towards the limit.
    fn count(&self) -> usize {
        self.connections.len() - self.leaving
    }

    /// The number of those without a hello that are not asked already.
    fn handshakes(&self) -> usize {
        self.fresh.len() + self.silent.len()
    }

    fn are_many_leaving(&self) -> bool {
        self.asked + self.leaving >= MAX_LEAVING
    }

    /// Asks the connection that has been silent for the longest time; one whose handshake did not run yet
    /// only if there is no other.
    fn ask_oldest(&mut self) -> Option<PlaceId> {
        let silent = self.silent.first().map(|(_, place)| *place);
        let oldest = silent.or_else(|| self.fresh.first().copied())?;
        self.set_state(oldest, PlaceState::Asked);
        Some(oldest)
    }

    /// Finds a connection to close, of the host that has the most, if this host has more than its share.
    /// The host of the new connection counts for the share too. One that comes through a proxy may be of a
    /// new host, which must not be kept out; so it counts as one. If it is of a known host, that host has a
    /// connection more than its share at most, and is the first to make room.
    fn make_room(
        &mut self,
        newcomer: Newcomer,
        now: Instant,
        activity: impl Fn(PlaceId) -> Activity,
    ) -> Result<PlaceId, ConnectionLimit> {
        let full = ConnectionLimit::MaxConnections;
        let is_new = match newcomer {
            Newcomer::Of(host) => self.hosts.count(host) == 0,
            Newcomer::Uncounted => false,
            Newcomer::Proxied => true,
        };
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

    /// Stops counting a connection, in all and for its host.
    fn leave(&mut self, place: PlaceId) {
        self.set_state(place, PlaceState::Leaving);
        if let Some(connection) = self.connections.get_mut(&place)
            && let Some(host) = connection.host.take()
        {
            self.hosts.leave(host, connection.rank, place);
        }
    }

    fn state(&self, place: PlaceId) -> Option<PlaceState> {
        self.connections
            .get(&place)
            .map(|connection| connection.state)
    }

    /// Sets the state of a connection, and moves it between the sets.
    fn set_state(&mut self, place: PlaceId, state: PlaceState) {
        let Some(connection) = self.connections.get_mut(&place) else {
            return;
        };
        match std::mem::replace(&mut connection.state, state) {
            PlaceState::Fresh => drop(self.fresh.remove(&place)),
            PlaceState::Silent(key) => drop(self.silent.remove(&(key, place))),
            PlaceState::Asked => self.asked -= 1,
            PlaceState::Leaving => self.leaving -= 1,
            PlaceState::Open => {}
        }
        match state {
            PlaceState::Asked => self.asked += 1,
            PlaceState::Leaving => self.leaving += 1,
            PlaceState::Fresh | PlaceState::Silent(_) | PlaceState::Open => {}
        }
    }
}

#[cfg(test)]
mod tests;
