//! One machine, a peer that sends packets of any kind, and a user. The machine must always follow
//! the [`Rules`].
//!
//! Packets come one at a time, so each event has a known cause. After the first burst the cause is
//! no longer known, and only the events that the user gets are checked.

mod act;
mod sent;
mod user;

use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::{Bytes, BytesMut};
use wawo_protocol::{
    CloseCode, Config, Connection, ConnectionError, Event, Limits, Side,
    packet::{HEADER_BYTES, PREFACE, Packet, decode, decode_preface},
};

use crate::{
    fuzz::packets::{act::Act, sent::Sent, user::User},
    model::Rules,
    pair::{beginning, connection, copy_even},
};

/// How a run begins.
#[derive(Debug, Arbitrary)]
struct Setting {
    accepting: bool,
    /// Whether packets can be larger than a message.
    large_packets: bool,
    /// Whether the hello comes before everything else.
    has_peer_hello: bool,
}

#[derive(Debug)]
enum Step {
    /// A packet that keeps the rules. One that would break a rule is not sent.
    Peer(Sent),
    /// A packet that may break the rules, or end many calls.
    Daring(Sent),
    User(Act),
    Pass(Duration),
    /// The user starts more calls than the peer has slots.
    Rush,
    Drain,
    Close,
    /// Packets that are read together.
    Burst(Sent, Sent),
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        // Inputs that end a run, or many calls, are rare, because long runs reach most of the
        // states.
        Ok(match u8::arbitrary(input)? {
            0..=109 => Self::Peer(Sent::arbitrary(input)?),
            110..=219 => Self::User(Act::arbitrary(input)?),
            220..=234 => Self::Pass(Duration::from_millis(u8::arbitrary(input)?.into())),
            235..=236 => Self::Pass(Duration::from_secs(10)),
            237..=249 => Self::Daring(Sent::arbitrary(input)?),
            250 => Self::Rush,
            251 => Self::Drain,
            252 => Self::Close,
            253.. => Self::Burst(Sent::arbitrary(input)?, Sent::arbitrary(input)?),
        })
    }
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(setting) = Setting::arbitrary(&mut input) else {
        return;
    };
    let mut world = World::new(&setting);
    while !input.is_empty() {
        match Step::arbitrary(&mut input) {
            Ok(step) => world.take(&step),
            Err(_) => break,
        }
    }
    world.close();
}

struct World {
    now: Instant,
    /// The time of the peer's last packet.
    heard: Instant,
    side: Side,
    machine: Connection<u32>,
    user: User,
    /// `None` after packets came together.
    rules: Option<Rules>,
    input: BytesMut,
    prefaced: bool,
}

/// Limits of the peer that allow anything.
const ANY: Limits = {
    let mut limits = Limits::MINIMUM;
    limits.max_packet_bytes = 1 << 30;
    limits
};

impl World {
    fn new(setting: &Setting) -> Self {
        let now = beginning();
        let side = match setting.accepting {
            true => Side::Accepting,
            false => Side::Connecting,
        };
        let mut config = Config::builder().limits(Limits::MINIMUM).max_streams(5);
        if setting.large_packets {
            config = config
                .max_packet_bytes(Limits::default().max_packet_bytes)
                .initial_credit_bytes(Limits::default().initial_credit_bytes);
        }
        let config = config.build().expect("settings in their ranges");
        let rules = Rules::new(side, &config, now);
        let machine = connection(side, config, now);
        let mut world = Self {
            now,
            heard: now,
            side,
            machine,
            user: User::new(side),
            rules: Some(rules),
            input: BytesMut::from(&PREFACE[..]),
            prefaced: false,
        };
        world.look();
        if setting.has_peer_hello {
            world.send(&Sent::minimal_hello());
            world.look();
        }
        world
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Peer(sent) => {
                if let Some(packet) = self.fine_packet(sent) {
                    self.send(&packet);
                }
            }
            Step::Daring(sent) => {
                if let Some(packet) = sent.packet(self.side, self.rules.as_ref()) {
                    self.send(&packet);
                }
            }
            Step::User(act) => {
                let rules = self.rules.as_mut();
                self.user.act(self.now, &mut self.machine, rules, act);
            }
            Step::Pass(time) => self.pass(*time),
            Step::Rush => {
                let rules = self.rules.as_mut();
                self.user.rush(self.now, &mut self.machine, rules);
            }
            Step::Drain => {
                self.machine.drain();
                self.rules.iter_mut().for_each(Rules::drains);
            }
            Step::Close => self.machine.close(CloseCode::Normal, "enough"),
            Step::Burst(one, other) => {
                let one = self.fine_packet(one);
                let other = other.packet(self.side, None);
                self.rules = None;
                for packet in [one, other].into_iter().flatten() {
                    packet.encode(&mut self.input);
                }
            }
        }
        self.look();
    }

    /// A packet that only continues existing calls.
    fn fine_packet(&self, sent: &Sent) -> Option<Packet> {
        let packet = sent.packet(self.side, self.rules.as_ref())?;
        let rules = self.rules.clone();
        let fine = rules.is_none_or(|mut rules| rules.sends(&packet, 0));
        let goes_on = !matches!(packet, Packet::Drain { .. } | Packet::Close { .. });
        (fine && goes_on).then_some(packet)
    }

    /// Gives the machine a packet.
    fn send(&mut self, packet: &Packet) {
        let before = self.input.len();
        packet.encode(&mut self.input);
        let length = self.input.len() - before - HEADER_BYTES;
        let Some(rules) = self.rules.as_mut().filter(|_| !self.machine.is_closed()) else {
            return;
        };
        let fine = rules.sends(packet, length);
        let error = self.poll();
        assert_eq!(error.is_none(), fine, "{}: {error:?}", packet.kind());
    }

    /// Exchanges everything in both directions: the machine's events, and its output.
    fn look(&mut self) {
        self.poll();
        self.listen();
        if self.machine.is_closed() {
            return self.over();
        }
        if let Some(rules) = &self.rules {
            rules.nothing_is_owed();
            assert_eq!(rules.calls_of_user(), self.user.calls());
            assert_eq!(rules.held(), self.machine.held_bytes());
        }
    }

    fn poll(&mut self) -> Option<ConnectionError> {
        let before = self.input.len();
        let result = loop {
            if let Some(called) = self.machine.poll_call(self.now, &mut self.input, copy_even) {
                self.hear(&Event::Called(called));
                continue;
            }
            match self.machine.poll_event(self.now, &mut self.input) {
                Ok(Some(event)) => self.hear(&event),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        assert!(!self.machine.has_events());
        if self.input.len() < before {
            self.heard = self.now;
        }
        result
    }

    fn hear(&mut self, event: &Event<u32>) {
        if let Some(rules) = &mut self.rules {
            rules.hears(event);
        }
        if matches!(event, Event::Opened(_)) {
            let accepted = self.machine.accept(self.now, Bytes::new());
            accepted.expect("no credentials");
        }
        self.user
            .hear(&mut self.machine, self.rules.as_mut(), event);
    }

    /// The connection is over: all calls are returned to the user, and there are no more events.
    fn over(&mut self) {
        self.user.over(self.machine.take_calls());
        assert!(!self.machine.has_events());
        self.rules.iter_mut().for_each(Rules::ends);
    }

    /// Takes the machine's output.
    fn listen(&mut self) {
        let mut said = BytesMut::new();
        loop {
            self.machine.fill_output();
            // The user gets these events before the peer sees the output.
            self.poll();
            let output = self.machine.output();
            if output.is_empty() {
                break;
            }
            let length = output.first().len();
            said.extend_from_slice(output.first());
            output.advance(length);
        }
        if !self.prefaced {
            self.prefaced = decode_preface(&mut said).expect("a preface");
        }
        let mut before = said.len();
        while let Some(packet) = decode(&mut said, &ANY).expect("a packet") {
            if let Some(rules) = &mut self.rules {
                rules.says(&packet, before - said.len() - HEADER_BYTES);
            }
            before = said.len();
        }
        assert!(said.is_empty(), "half a packet");
    }

    /// Lets time pass, and handles all timeouts within it.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at < end) {
            self.at(at.max(self.now));
        }
        self.at(end);
    }

    fn at(&mut self, now: Instant) {
        self.now = now;
        self.rules.iter_mut().for_each(|rules| rules.passes(now));
        if let Err(error) = self.machine.handle_timeout(now) {
            let silent = now - self.heard >= Duration::from_secs(5);
            assert!(silent, "{error}");
        }
        self.look();
        if let Some(rules) = self.rules.as_ref().filter(|_| !self.machine.is_closed()) {
            rules.nothing_is_late();
        }
    }

    /// The end of a run: every token was returned.
    fn close(mut self) {
        self.machine.close(CloseCode::Normal, "");
        self.look();
        self.user.is_done();
    }
}
