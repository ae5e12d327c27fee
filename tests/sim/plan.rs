//! What a seed means: who calls whom and when, what handlers do, and what happens to links.

mod calls;
mod circles;
mod faults;

use std::time::Duration;

pub(crate) use crate::plan::{
    calls::{AMPLE, CallPlan, Caller, End, HandlerPlan, Reads, Shape},
    faults::{Fault, MAX_STALL, PlannedFault, Side, Sides},
};
use crate::random::Random;

/// All that is decided before a simulation begins.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    pub(crate) limits: LimitsPlan,
    pub(crate) links: LinkStyle,
    /// By number. Those that a handler makes stand among them.
    pub(crate) calls: Vec<CallPlan>,
    /// In the order of their time.
    pub(crate) faults: Vec<PlannedFault>,
    /// For what is decided on the way, by the links.
    pub(crate) random: Random,
}

/// How the connections of both ends are configured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitsPlan {
    /// Everything that can be small is as small as can be; messages may still be large.
    pub(crate) least: bool,
    /// Handlers call back before they read their streams, and must not so hold up the streams of
    /// those calls for ever: there is credit for all requests of the plan.
    pub(crate) ample_requests: bool,
    /// So few that callers often stand in line for the mailbox of their driver.
    pub(crate) max_waiting_calls: usize,
    pub(crate) keep_alive_interval: Duration,
    pub(crate) keep_alive_timeout: Duration,
}

/// How links carry bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkStyle {
    pub(crate) min_delay: Duration,
    pub(crate) max_delay: Duration,
    /// Bytes that a direction holds.
    pub(crate) capacity: usize,
    pub(crate) split: Split,
    /// Whether a write takes several slices.
    pub(crate) vectored: bool,
}

/// Where a stream of bytes is split into reads and writes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Split {
    Nowhere,
    /// Sometimes a few bytes, sometimes all.
    Sometimes,
    /// Mostly few bytes.
    Often,
}

/// All calls begin within this time.
pub(crate) const BUSY: Duration = Duration::from_secs(4);

/// More than all requests of a plan have at any time.
const AMPLE_CREDIT_BYTES: u32 = 64 * 1024 * 1024;

/// One seed in so many has no faults, so that every outcome is known beforehand.
const CALM_PERCENT: u64 = 35;

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let clients = random.within(1..=4) as usize;
        let is_calm = random.percent(CALM_PERCENT);
        let mut limits = LimitsPlan::new(&mut random, is_calm);
        let links = LinkStyle::new(&mut random);
        let calls = calls::plan(&mut random.fork(), clients, limits, links);
        limits.ample_requests = calls.iter().any(|call| call.handler.calls_back.is_some());
        let faults = match is_calm {
            true => Vec::new(),
            false => faults::plan(&mut random.fork(), clients),
        };
        Self {
            clients,
            limits,
            links,
            calls,
            faults,
            random,
        }
    }
}

impl Plan {
    /// What a seed means where both ends have more calls of each other than they take at a time, and
    /// the handlers of all call back, as deep as they may.
    pub(crate) fn of_circles(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let clients = random.within(1..=2) as usize;
        let limits = LimitsPlan {
            least: true,
            ..LimitsPlan::new(&mut random, true)
        };
        Self {
            clients,
            limits,
            links: LinkStyle::new(&mut random),
            calls: circles::plan(&mut random.fork(), clients),
            faults: Vec::new(),
            random,
        }
    }
}

impl LimitsPlan {
    fn new(random: &mut Random, is_calm: bool) -> Self {
        // Where nothing else goes wrong there are no pings either: a ping would wake a driver that
        // sleeps when it should not.
        let (interval, timeout) = match is_calm {
            true => (3600, 3600),
            false => random.one_of(&[(2, 2), (2, 2), (20, 10)]),
        };
        Self {
            least: random.percent(50),
            ample_requests: true,
            max_waiting_calls: random.one_of(&[4, 1024]),
            keep_alive_interval: Duration::from_secs(interval),
            keep_alive_timeout: Duration::from_secs(timeout),
        }
    }

    pub(crate) fn config(&self) -> wawo::Config {
        let mut config = wawo::Config::default();
        if self.least {
            let max_message_bytes = config.limits.max_message_bytes;
            config.limits = wawo::Limits::MINIMUM;
            config.limits.max_message_bytes = max_message_bytes;
            if self.ample_requests {
                config.limits.request_credit_bytes = AMPLE_CREDIT_BYTES;
            }
        }
        config.max_waiting_calls = self.max_waiting_calls;
        config.keep_alive_interval = self.keep_alive_interval;
        config.keep_alive_timeout = self.keep_alive_timeout;
        // A peer that is not heard is found by its silence, and a handler that does not read by the
        // deadline, before the credit that either does not give.
        config.stall_timeout = 2 * (self.silence() + AMPLE);
        config
    }

    /// How long a side may hear nothing before it gives up the connection.
    pub(crate) fn silence(&self) -> Duration {
        self.keep_alive_interval + self.keep_alive_timeout
    }
}

impl LinkStyle {
    fn new(random: &mut Random) -> Self {
        // A long way holds much, or a ping would wait too long behind what is under way.
        let (min, max, least) = random.one_of(&[(0, 0, 2), (0, 2, 2), (1, 20, 16), (5, 60, 64)]);
        Self {
            min_delay: Duration::from_millis(min),
            max_delay: Duration::from_millis(max),
            capacity: random.one_of(&[1, 4, 16]) * least * 1024,
            split: random.one_of(&[Split::Nowhere, Split::Sometimes, Split::Often]),
            vectored: random.percent(50),
        }
    }
}
