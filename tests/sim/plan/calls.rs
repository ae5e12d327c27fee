//! The calls of a plan.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    content::MAX_BYTES,
    plan::{BUSY, LimitsPlan, LinkStyle},
    random::Random,
};

/// A call: the behaviour of its caller and of its handler.
#[derive(Debug, Clone)]
pub(crate) struct CallPlan {
    pub(crate) number: u32,
    pub(crate) caller: Caller,
    pub(crate) shape: Shape,
    pub(crate) requests: Vec<Item>,
    pub(crate) replies: Vec<Item>,
    /// `None` for the default timeout.
    pub(crate) timeout: Option<Duration>,
    /// The time after which the caller drops the call, whatever its state.
    pub(crate) dropped_after: Option<Duration>,
    /// The call that its caller makes when it drops this one.
    pub(crate) replaced_by: Option<u32>,
    /// The number of replies after which the caller drops the stream.
    pub(crate) dropped_at: Option<usize>,
    /// The pause of the caller before it reads each reply.
    pub(crate) read_pause: Duration,
    /// The number of times that caller and handler yield before they begin, and the caller before
    /// it drops the call. It varies the order of events at the same time.
    pub(crate) turns: u32,
    /// The number is in the first message, not in metadata.
    pub(crate) number_in_message: bool,
    pub(crate) handler: HandlerPlan,
}

/// The side that makes a call, and the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A client calls the server.
    Client { client: usize, at: Duration },
    /// The server calls a client.
    Server { client: usize, at: Duration },
    /// The handler of this call calls its caller.
    Handler(u32),
    /// The caller of this call makes another one, without a yield before it drops this one.
    Replaces(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Unary,
    OneWay,
    ClientStream,
    ServerStream,
    BidiStream,
}

/// A message, and the pause of its sender before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    pub(crate) bytes: usize,
    pub(crate) pause: Duration,
}

/// The behaviour of a handler, in this order.
#[derive(Debug, Clone)]
pub(crate) struct HandlerPlan {
    /// The pause at its start.
    pub(crate) wait: Duration,
    /// The call that it makes to its caller.
    pub(crate) calls_back: Option<u32>,
    /// The way it reads the requests, if they are a stream.
    pub(crate) reads: Reads,
    /// The pause before it reads each request.
    pub(crate) read_pause: Duration,
    pub(crate) end: End,
    /// It ends before it replies with a stream, not after the replies.
    pub(crate) ends_early: bool,
}

/// The requests that a handler reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    All,
    /// This many; then it drops the stream and continues.
    First(usize),
    /// This many; then it drops the stream, and continues when the caller has sent all.
    FirstThenAwaitsAll(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Reply,
    Fail,
    Panic,
    Never,
}

/// So long that a call without faults always ends before.
pub(crate) const AMPLE: Duration = Duration::from_secs(600);

pub(crate) fn plan(
    random: &mut Random,
    clients: usize,
    limits: LimitsPlan,
    links: LinkStyle,
) -> Vec<CallPlan> {
    let most = random.one_of(&[40, 100, 200]);
    let count = random.within(20..=most) as usize;
    let mut planner = Planner {
        sizes: Sizes::new(random, limits, links, count),
        times: Times::new(random),
        calls: Vec::new(),
        random,
    };
    while planner.calls.len() < count {
        let at = planner
            .times
            .long(planner.random, 0..=BUSY.as_millis() as u64);
        let client = planner.random.within(0..=clients as u64 - 1) as usize;
        let caller = match planner.random.percent(70) {
            true => Caller::Client { client, at },
            false => Caller::Server { client, at },
        };
        planner.call(caller, 0);
    }
    planner.calls
}

struct Planner<'a> {
    random: &'a mut Random,
    sizes: Sizes,
    times: Times,
    calls: Vec<CallPlan>,
}

/// The maximum depth of calls that handlers make.
const MAX_DEPTH: u32 = 2;

impl Planner<'_> {
    /// Adds a call and the calls that its handler makes; returns its number.
    fn call(&mut self, caller: Caller, depth: u32) -> u32 {
        let number = self.calls.len() as u32;
        let mut plan = self.draw(number, caller);
        // The number is assigned before the handler's calls get theirs.
        self.calls.push(plan.clone());
        if depth < MAX_DEPTH && self.random.percent(10) {
            plan.handler.calls_back = Some(self.call(Caller::Handler(number), depth + 1));
        }
        let is_outer = !matches!(caller, Caller::Handler(_));
        if is_outer && plan.dropped_after.is_some() && self.random.percent(50) {
            plan.replaced_by = Some(self.call(Caller::Replaces(number), depth));
        }
        self.calls[number as usize] = plan;
        number
    }

    fn draw(&mut self, number: u32, caller: Caller) -> CallPlan {
        let shape = self.random.one_of(&[
            Shape::Unary,
            Shape::Unary,
            Shape::Unary,
            Shape::OneWay,
            Shape::ClientStream,
            Shape::ServerStream,
            Shape::BidiStream,
        ]);
        let requests = self.items(shape.streams_requests());
        let replies = match shape {
            Shape::OneWay => Vec::new(),
            _ => self.items(shape.streams_replies()),
        };
        let number_in_message =
            !shape.streams_requests() && requests[0].bytes >= 4 && self.random.percent(50);
        let handler = self.handler(shape, requests.len());
        let mut plan = CallPlan {
            number,
            caller,
            shape,
            requests,
            replies,
            timeout: Some(AMPLE),
            dropped_after: None,
            replaced_by: None,
            dropped_at: None,
            read_pause: self.times.pause(self.random),
            turns: self.random.within(0..=4) as u32,
            number_in_message,
            handler,
        };
        self.limit(&mut plan);
        plan
    }

    fn items(&mut self, is_stream: bool) -> Vec<Item> {
        let count = match is_stream {
            true => self.random.within(0..=12),
            false => 1,
        };
        let mut item = || Item {
            bytes: self.sizes.draw(self.random),
            pause: self.times.pause(self.random),
        };
        (0..count).map(|_| item()).collect()
    }

    fn handler(&mut self, shape: Shape, requests: usize) -> HandlerPlan {
        let random = &mut *self.random;
        let end = match random.within(0..=99) {
            0..=69 => End::Reply,
            70..=79 => End::Fail,
            80..=89 => End::Panic,
            // Nobody could end the handler of a one-way call.
            _ if shape == Shape::OneWay => End::Reply,
            _ => End::Never,
        };
        let first = random.within(0..=requests as u64) as usize;
        let reads = match random.within(0..=9) {
            0..=6 => Reads::All,
            7 | 8 => Reads::First(first),
            _ => Reads::FirstThenAwaitsAll(first),
        };
        HandlerPlan {
            wait: self.times.pause(random),
            calls_back: None,
            reads,
            read_pause: self.times.pause(random),
            end,
            ends_early: random.percent(30),
        }
    }

    /// Decides when the caller loses its patience.
    fn limit(&mut self, plan: &mut CallPlan) {
        let (times, random) = (&self.times, &mut *self.random);
        match random.within(0..=99) {
            0..=19 => plan.timeout = Some(times.long(random, 1..=1500)),
            // Without its own timeout, a handler's call has the deadline of the handler.
            20..=29 if !matches!(plan.caller, Caller::Handler(_)) => plan.timeout = None,
            _ => {}
        }
        if random.percent(15) {
            plan.dropped_after = Some(times.short(random, 0..=500));
        }
        if random.percent(15) && plan.shape.streams_replies() {
            plan.dropped_at = Some(random.within(0..=plan.replies.len() as u64) as usize);
        }
        // Only then does a call that is never answered end before the simulation does.
        let is_patient = plan.time().is_none_or(|time| time == AMPLE);
        if plan.handler.end == End::Never && is_patient {
            plan.timeout = Some(times.long(random, 500..=3000));
        }
    }
}

impl CallPlan {
    /// The number of calls that led to this call.
    pub(crate) fn depth(&self, calls: &[Self]) -> u32 {
        match self.caller {
            Caller::Handler(outer) => calls[outer as usize].depth(calls) + 1,
            Caller::Client { .. } | Caller::Server { .. } | Caller::Replaces(_) => 0,
        }
    }

    /// The timeout of the call; `None` for no deadline.
    pub(crate) fn time(&self) -> Option<Duration> {
        let is_stream = self.shape.streams_requests() || self.shape.streams_replies();
        let default = (!is_stream).then_some(DEFAULT_TIMEOUT);
        self.timeout.or(default)
    }
}

/// For calls without streams that set none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

impl Shape {
    pub(crate) fn streams_requests(self) -> bool {
        matches!(self, Self::ClientStream | Self::BidiStream)
    }

    pub(crate) fn streams_replies(self) -> bool {
        matches!(self, Self::ServerStream | Self::BidiStream)
    }
}

/// The granularity of times. With a coarse grain, many events coincide: calls begin in bursts,
/// replies come as their callers lose patience, deadlines pass as links time out.
struct Times {
    short: u64,
    long: u64,
}

impl Times {
    fn new(random: &mut Random) -> Self {
        let (short, long) = random.one_of(&[(1, 1), (25, 25), (25, 1000), (25, 2000)]);
        Self { short, long }
    }

    fn short(&self, random: &mut Random, millis: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(random.within(millis).next_multiple_of(self.short))
    }

    fn long(&self, random: &mut Random, millis: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(random.within(millis).next_multiple_of(self.long))
    }

    fn pause(&self, random: &mut Random) -> Duration {
        match random.percent(70) {
            true => Duration::ZERO,
            false => self.short(random, 1..=100),
        }
    }
}

/// The sizes of messages.
struct Sizes {
    large_percent: u64,
    max: u64,
}

impl Sizes {
    /// Makes large messages rare where they are expensive: in small pieces, or in many calls.
    fn new(random: &mut Random, limits: LimitsPlan, links: LinkStyle, calls: usize) -> Self {
        let percents: &[u64] = match calls {
            _ if links.capacity < 16 * 1024 => &[0, 1, 2],
            0..=40 => &[0, 20, 80],
            41..=100 if limits.least => &[0, 5, 20],
            41..=100 => &[0, 2, 10],
            _ => &[0, 1, 2],
        };
        Self {
            large_percent: random.one_of(percents),
            max: random.one_of(&[40 * 1024, 100 * 1024, MAX_BYTES as u64]),
        }
    }

    fn draw(&self, random: &mut Random) -> usize {
        let bytes = match random.percent(self.large_percent) {
            true => random.within(10 * 1024..=self.max),
            false => match random.within(0..=9) {
                0 => 0,
                1..=7 => random.within(1..=200),
                _ => random.within(200..=3000),
            },
        };
        bytes as usize
    }
}
