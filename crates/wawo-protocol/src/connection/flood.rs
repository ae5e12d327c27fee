//! Rate limits: the connection is closed if its peer cancels too often, or sends too many packets
//! that carry nothing. Such packets cost this side work and bring nothing.

use std::time::{Duration, Instant};

use crate::{config::Config, error::PeerMisbehaved};

#[derive(Debug)]
pub(crate) struct FloodGuard {
    /// Cancels since `second`.
    cancels: u32,
    /// When the second began in which `cancels` are counted.
    second: Instant,
    /// Packets in a row that carried nothing.
    idle: u32,
}

impl FloodGuard {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            cancels: 0,
            second: now,
            idle: 0,
        }
    }

    /// Counts a cancelled call. An error if that is one too many within a second.
    pub(crate) fn count_cancel(
        &mut self,
        now: Instant,
        config: &Config,
    ) -> Result<(), PeerMisbehaved> {
        if now >= self.second + Duration::from_secs(1) {
            (self.second, self.cancels) = (now, 0);
        }
        self.cancels += 1;
        match self.cancels <= config.max_cancels_per_second() {
            true => Ok(()),
            false => Err(PeerMisbehaved::Cancels(config.max_cancels_per_second())),
        }
    }

    /// Counts a packet that carried nothing. An error if too many came in a row.
    pub(crate) fn count_idle(&mut self, config: &Config) -> Result<(), PeerMisbehaved> {
        self.idle += 1;
        match self.idle <= config.max_idle_packets() {
            true => Ok(()),
            false => Err(PeerMisbehaved::IdlePackets(config.max_idle_packets())),
        }
    }

    /// Ends the row of packets that carry nothing, since one has carried something.
    pub(crate) fn reset(&mut self) {
        self.idle = 0;
    }
}
