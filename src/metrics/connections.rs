//! Counts of connections and peers. They are rare beside calls, so a lock guards them.

use std::collections::BTreeMap;

use wawo_protocol::Side;

use crate::metrics::series::{MAX_NAMES, OTHER};

/// The connections and peers of both sides.
#[derive(Debug, Default)]
pub(super) struct Connections {
    pub(super) connecting: SideCounts,
    pub(super) accepting: SideCounts,
}

/// The connections and peers of one side.
#[derive(Debug, Default)]
pub(super) struct SideCounts {
    /// By transport.
    pub(super) transports: BTreeMap<&'static str, TransportCounts>,
    pub(super) peers: u64,
}

/// The connections of one transport.
#[derive(Debug, Default)]
pub(super) struct TransportCounts {
    pub(super) open: u64,
    /// By reason.
    pub(super) ended: BTreeMap<&'static str, u64>,
}

impl Connections {
    pub(super) fn of(&mut self, side: Side) -> &mut SideCounts {
        match side {
            Side::Connecting => &mut self.connecting,
            Side::Accepting => &mut self.accepting,
        }
    }
}

impl SideCounts {
    pub(super) fn peer_opened(&mut self) {
        self.peers += 1;
    }

    pub(super) fn peer_ended(&mut self) {
        self.peers = self.peers.saturating_sub(1);
    }

    pub(super) fn connection_opened(&mut self, transport: &'static str) {
        entry(&mut self.transports, transport).open += 1;
    }

    pub(super) fn connection_ended(&mut self, transport: &'static str, reason: &'static str) {
        let counts = entry(&mut self.transports, transport);
        counts.open = counts.open.saturating_sub(1);
        *entry(&mut counts.ended, reason) += 1;
    }
}

fn entry<'a, T: Default>(map: &'a mut BTreeMap<&'static str, T>, name: &'static str) -> &'a mut T {
    let has_room = map.len() < MAX_NAMES || map.contains_key(name);
    map.entry(if has_room { name } else { OTHER }).or_default()
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAMES, SideCounts};

    #[test]
    fn names_beyond_the_limit_share_one_count() {
        let mut counts = SideCounts::default();
        for number in 0..MAX_NAMES + 10 {
            let transport = Box::leak(number.to_string().into_boxed_str());
            counts.connection_opened(transport);
        }
        counts.connection_ended("0", "closed");
        counts.connection_ended("new", "closed");
        assert_eq!(counts.transports.len(), MAX_NAMES + 1);
        assert_eq!(counts.transports["0"].open, 0);
        assert_eq!(counts.transports["_OTHER"].open, 9);
        assert_eq!(counts.transports["_OTHER"].ended["closed"], 1);
    }
}
