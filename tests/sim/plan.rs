//! Expands a seed into a plan: who calls whom and when, what handlers do, and the faults of links.

mod calls;
mod circles;
mod faults;

use std::time::Duration;

pub(crate) use crate::plan::{
    calls::{AMPLE, CallPlan, Caller, End, HandlerPlan, Reads, Shape},
    faults::{Fault, MAX_STALL, PlannedFault, Side, Sides},
};
use crate::random::Random;

/// Everything that is decided before a simulation begins.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    pub(crate) limits: LimitsPlan,
    pub(crate) links: LinkStyle,
    /// The percentage of connections that speak TLS. Without the feature `tls`, none does, and all
    /// else is the same.
    pub(crate) tls_percent: u64,
    /// By number, including the calls that handlers make.
    pub(crate) calls: Vec<CallPlan>,
    /// Sorted by time.
    pub(crate) faults: Vec<PlannedFault>,
    /// Randomness for decisions that links make during the run.
    pub(crate) random: Random,
}

/// The configuration of both ends' connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitsPlan {
    /// Every limit is at its minimum, except the size of messages.
    pub(crate) least: bool,
    /// Handlers that call back before they read their streams must not hold up the streams of those
    /// calls forever, so there is credit for all requests of the plan.
    pub(crate) ample_requests: bool,
    /// So few that callers often queue for the mailbox of their driver.
    pub(crate) max_waiting_calls: usize,
    pub(crate) keep_alive_interval: Duration,
    pub(crate) keep_alive_timeout: Duration,
}

/// The way in which links carry bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkStyle {
    pub(crate) min_delay: Duration,
    pub(crate) max_delay: Duration,
    /// The capacity of a direction, in bytes.
    pub(crate) capacity: usize,
    pub(crate) split: Split,
    /// Whether a write takes several slices.
    pub(crate) vectored: bool,
}

/// The sizes of reads and writes into which a stream of bytes is split.
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

/// More than all requests of a plan need at any time.
const AMPLE_CREDIT_BYTES: u32 = 64 * 1024 * 1024;

/// The percentage of seeds without faults, where every outcome is known in advance.
const CALM_PERCENT: u64 = 35;

/// Most connections are plain: TLS makes a simulation slower.
const TLS_PERCENTS: &[u64] = &[0, 0, 0, 0, 50, 100];

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
            tls_percent: random.one_of(TLS_PERCENTS),
            calls,
            faults,
            random,
        }
    }
}

impl Plan {
    /// Expands a seed into a plan in which both ends make more calls than the other has slots, and
    /// all handlers call back, to the maximum depth.
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
            tls_percent: random.one_of(TLS_PERCENTS),
            calls: circles::plan(&mut random.fork(), clients),
            faults: Vec::new(),
            random,
        }
    }
}

impl LimitsPlan {
    fn new(random: &mut Random, is_calm: bool) -> Self {
        // Without faults there are no pings either: a ping would wake a driver that sleeps by
        // mistake.
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
        let mut config = wawo::Config::builder();
        if self.least {
            let max_message_bytes = wawo::Limits::default().max_message_bytes;
            config = config
                .limits(wawo::Limits::MINIMUM)
                .max_message_bytes(max_message_bytes);
            if self.ample_requests {
                config = config.request_credit_bytes(AMPLE_CREDIT_BYTES);
            }
        }
        let config = config
            .max_waiting_calls(self.max_waiting_calls)
            .keep_alive_interval(self.keep_alive_interval)
            .keep_alive_timeout(self.keep_alive_timeout)
            // An unreachable peer is found by its silence, and a handler that does not read by its
            // deadline, before `stall_timeout` ends calls for lack of credit.
            .stall_timeout(2 * (self.silence() + AMPLE));
        config
            .build()
            .expect("settings of a plan are in their ranges")
    }

    /// The time without a byte after which a side closes the connection.
    pub(crate) fn silence(&self) -> Duration {
        self.keep_alive_interval + self.keep_alive_timeout
    }
}

impl LinkStyle {
    fn new(random: &mut Random) -> Self {
        // A link with a long delay has much capacity. Otherwise a ping would wait too long behind
        // other bytes.
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
