//! Orders hosts by their number of connections, and the connections of a host by how idle they are.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use crate::{
    connection::Activity,
    server::{admission::PlaceId, host::Host},
};

/// How much a connection is used; the least used one comes first. Connections that never had a call come
/// first, then those without calls in flight, the longest idle one first, and last those that have calls
/// now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    has_calls: bool,
    last_call: Option<Instant>,
    since: Instant,
}

impl Rank {
    /// The rank of a new connection.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            has_calls: false,
            last_call: None,
            since: now,
        }
    }

    /// The rank of the same connection with its use now.
    pub(crate) fn at(self, activity: Activity) -> Self {
        Self {
            has_calls: activity.has_calls,
            last_call: activity.last_call,
            ..self
        }
    }
}

/// How many connections one search looks at, at most, so that it stays short; the next searches look at
/// the others. A look is needed because the use of a connection changes without a change of the order
/// here. Connections that got calls since the last look are not counted: each is passed over only once
/// for all its calls.
const MAX_LOOKS: usize = 8;

/// If all connections seem to have calls, one search looks at all of them; at most once in this time.
const SURVEY_INTERVAL: Duration = Duration::from_secs(1);

/// The hosts that have connections.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    hosts: HashMap<Host, HostConnections>,
    by_count: BTreeSet<(usize, Host)>,
}

/// The connections of one host, by their use when they were last looked at.
#[derive(Debug, Default)]
struct HostConnections {
    ranked: BTreeSet<(Rank, PlaceId)>,
    /// When all connections were last looked at.
    surveyed: Option<Instant>,
}

impl Hosts {
    /// The number of hosts that have connections.
    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// The number of connections that a host has.
    pub(crate) fn count(&self, host: Host) -> usize {
        self.hosts
            .get(&host)
            .map_or(0, |connections| connections.ranked.len())
    }

    /// The host with the most connections, and their number.
    pub(crate) fn busiest(&self) -> Option<(usize, Host)> {
        self.by_count.last().copied()
    }

    pub(crate) fn join(&mut self, host: Host, rank: Rank, place: PlaceId) {
        let before = self.count(host);
        self.hosts
            .entry(host)
            .or_default()
            .ranked
            .insert((rank, place));
        self.recount(host, before);
    }

    pub(crate) fn leave(&mut self, host: Host, rank: Rank, place: PlaceId) {
        let before = self.count(host);
        if let Some(connections) = self.hosts.get_mut(&host) {
            connections.ranked.remove(&(rank, place));
            if connections.ranked.is_empty() {
                self.hosts.remove(&host);
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

    /// The connection of a host that is used the least. `rank` returns the rank of one as it is used now.
    pub(crate) fn idlest(
        &mut self,
        host: Host,
        now: Instant,
        rank: impl FnMut(PlaceId, Rank) -> Rank,
    ) -> Option<PlaceId> {
        self.hosts.get_mut(&host)?.idlest(now, rank)
    }
}

impl HostConnections {
    fn idlest(
        &mut self,
        now: Instant,
        mut rank: impl FnMut(PlaceId, Rank) -> Rank,
    ) -> Option<PlaceId> {
        let (mut looks, mut least) = (0, None);
        loop {
            let (before, place) = *self.ranked.first()?;
            if before.has_calls && self.is_survey_due(now) {
                self.survey(now, &mut rank);
                continue;
            }
            let current = rank(place, before);
            if current == before {
                return Some(place);
            }
            self.ranked.remove(&(before, place));
            self.ranked.insert((current, place));
            let looked_at = (current, place);
            let so_far = least.unwrap_or(looked_at);
            let (rank, place) = *least.insert(so_far.min(looked_at));
            let is_newly_busy = current.has_calls && !before.has_calls;
            looks += usize::from(!is_newly_busy);
            if looks >= MAX_LOOKS && (before.has_calls || !rank.has_calls) {
                return Some(place);
            }
        }
    }

    fn is_survey_due(&self, now: Instant) -> bool {
        self.surveyed.is_none_or(|at| now >= at + SURVEY_INTERVAL)
    }

    /// Ranks all connections anew.
    fn survey(&mut self, now: Instant, mut rank: impl FnMut(PlaceId, Rank) -> Rank) {
        self.surveyed = Some(now);
        let ranked = std::mem::take(&mut self.ranked).into_iter();
        self.ranked = ranked
            .map(|(before, place)| (rank(place, before), place))
            .collect();
    }
}
