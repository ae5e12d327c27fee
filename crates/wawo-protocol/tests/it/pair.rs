//! Two machines, a clock that tests set, and a link that is slow, splits bytes, or is cut.

use std::{
    collections::VecDeque,
    sync::OnceLock,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use wawo_protocol::{
    CallId, CallOutcome, Code, Config, ConfigBuilder, Connection, ConnectionError, DeadlineSource,
    Event, InboundCall, MessageBytes, Metadata, MethodId, NewCall, Refusal, ServiceId, Side,
    StartedCall,
    packet::{BatchBuilder, End},
};

/// Both ends of a connection.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: Node,
    pub(crate) server: Node,
    /// The time that bytes are on their way.
    pub(crate) delay: Duration,
    /// The maximum number of bytes that arrive at once.
    pub(crate) part: usize,
}

/// One machine, and its events.
pub(crate) struct Node {
    pub(crate) connection: Connection<u32>,
    pub(crate) events: Vec<Event<u32>>,
    pub(crate) error: Option<ConnectionError>,
    input: BytesMut,
    /// The number of bytes of direct reads.
    pub(crate) read_directly: usize,
    /// The bytes on their way to this machine, and the time of their arrival.
    arriving: VecDeque<(Instant, Bytes)>,
}

impl Node {
    fn new(connection: Connection<u32>) -> Self {
        Self {
            connection,
            events: Vec::new(),
            error: None,
            input: BytesMut::new(),
            read_directly: 0,
            arriving: VecDeque::new(),
        }
    }

    /// The events since the last call of this.
    pub(crate) fn heard(&mut self) -> Vec<Event<u32>> {
        std::mem::take(&mut self.events)
    }

    /// The only event since then, which must be a call.
    pub(crate) fn called(&mut self) -> InboundCall {
        let events = self.heard();
        let [Event::Called(called)] = &events[..] else {
            panic!("one call, not {events:?}");
        };
        called.clone()
    }

    /// The only event since then, which must be the end of a call.
    pub(crate) fn ended(&mut self) -> CallOutcome<u32> {
        let mut events = self.heard();
        match (events.pop(), events.is_empty()) {
            (Some(Event::Ended(ended)), true) => ended,
            (last, _) => panic!("one end, not {events:?} and {last:?}"),
        }
    }

    fn poll(&mut self, now: Instant) {
        while self.error.is_none() {
            if let Some(called) = self.connection.poll_call(now, &mut self.input, copy_even) {
                self.events.push(Event::Called(called));
                continue;
            }
            match self.connection.poll_event(now, &mut self.input) {
                Ok(Some(event)) => {
                    if matches!(event, Event::Opened(_)) {
                        let accepted = self.connection.accept(now, Bytes::new());
                        accepted.expect("no credentials");
                    }
                    self.events.push(event);
                }
                Ok(None) => return,
                Err(error) => self.error = Some(error),
            }
        }
    }

    /// Takes the machine's output, in parts.
    fn say(&mut self, part: usize) -> Vec<Bytes> {
        let mut said = Vec::new();
        self.connection.fill_output();
        while !self.connection.output().is_empty() {
            let output = self.connection.output();
            let first = output.first();
            let bytes = Bytes::copy_from_slice(&first[..part.min(first.len())]);
            output.advance(bytes.len());
            said.push(bytes);
            self.connection.fill_output();
        }
        said
    }

    /// Reads one part that has arrived; `false` if there is none.
    fn hear(&mut self, now: Instant) -> bool {
        if self.arriving.front().is_none_or(|(at, _)| *at > now) {
            return false;
        }
        let (_, mut bytes) = self.arriving.pop_front().unwrap_or((now, Bytes::new()));
        while !bytes.is_empty() && self.error.is_none() {
            match self.connection.direct_read(&mut self.input) {
                Some(mut room) => {
                    let part = bytes.len().min(room.remaining_mut());
                    room.put(bytes.split_to(part));
                    self.read_directly += part;
                }
                None => self.input.extend_from_slice(&std::mem::take(&mut bytes)),
            }
            self.poll(now);
        }
        true
    }

    /// The time at which this machine has something to do, if nothing else happens.
    fn next_time(&self) -> Option<Instant> {
        let arrives = self.arriving.front().map(|(at, _)| *at);
        let alive = self.error.is_none();
        let timeout = self.connection.poll_timeout().filter(|_| alive);
        [arrives, timeout].into_iter().flatten().min()
    }

    pub(crate) fn handle_time(&mut self, now: Instant) {
        if let Err(error) = self.connection.handle_timeout(now) {
            self.error = Some(error);
        }
        self.poll(now);
    }
}

/// A machine of either side, without credentials.
pub(crate) fn connection<T>(side: Side, config: Config, now: Instant) -> Connection<T> {
    match side {
        Side::Connecting => {
            Connection::connecting(config, Bytes::new(), now).expect("no credentials")
        }
        Side::Accepting => Connection::accepting(config, now),
    }
}

/// A message as it may be passed on: in one part or in two.
pub(crate) fn in_pieces(mut message: Bytes) -> MessageBytes {
    match message.len() % 3 {
        0 => message.into(),
        _ => {
            let first = message.split_to(message.len() / 2);
            [first, message].into_iter().collect()
        }
    }
}

/// Copies messages of even length, as a driver may copy some.
pub(crate) fn copy_even(message: &[u8]) -> Option<Bytes> {
    let is_even = message.len().is_multiple_of(2);
    is_even.then(|| Bytes::copy_from_slice(message))
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(Config::default(), Config::default())
    }

    pub(crate) fn with(client: Config, server: Config) -> Self {
        let now = beginning();
        Self {
            now,
            client: Node::new(connection(Side::Connecting, client, now)),
            server: Node::new(connection(Side::Accepting, server, now)),
            delay: Duration::ZERO,
            part: usize::MAX,
        }
    }

    /// Two machines that have exchanged hellos.
    pub(crate) fn open() -> Self {
        Self::open_with(Config::default(), Config::default())
    }

    pub(crate) fn open_with(client: Config, server: Config) -> Self {
        let mut pair = Self::with(client, server);
        pair.run();
        for node in [&mut pair.client, &mut pair.server] {
            let events = node.heard();
            assert!(matches!(events[..], [Event::Opened(_)]), "{events:?}");
        }
        pair
    }

    /// Moves bytes until both sides are quiet. Time passes only as the bytes need it.
    pub(crate) fn run(&mut self) {
        loop {
            while self.carry() {}
            let arrivals = [&self.client, &self.server]
                .into_iter()
                .filter_map(|node| node.arriving.front());
            match arrivals.map(|(at, _)| *at).min() {
                Some(at) => self.now = self.now.max(at),
                None => return,
            }
        }
    }

    /// Lets time pass, with everything that happens in it.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            while self.carry() {}
            let times = [self.client.next_time(), self.server.next_time()];
            match times.into_iter().flatten().min().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            self.client.handle_time(self.now);
            self.server.handle_time(self.now);
        }
        self.now = end;
    }

    /// Loses all bytes on their way.
    pub(crate) fn cut(&mut self) {
        for node in [&mut self.client, &mut self.server] {
            node.say(usize::MAX);
            node.arriving.clear();
        }
    }

    /// Moves everything that can move now; `false` if nothing can.
    fn carry(&mut self) -> bool {
        let arrives = self.now + self.delay;
        let arriving = |bytes| (arrives, bytes);
        let said = self.client.say(self.part);
        self.server.arriving.extend(said.into_iter().map(arriving));
        let said = self.server.say(self.part);
        self.client.arriving.extend(said.into_iter().map(arriving));
        self.client.poll(self.now);
        self.server.poll(self.now);
        let heard = [self.client.hear(self.now), self.server.hear(self.now)];
        heard.contains(&true)
    }

    /// Starts an ordinary call of the client.
    pub(crate) fn start(&mut self, token: u32, message: &'static [u8]) -> CallId {
        let call = unary(message);
        match self.client.connection.start_call(self.now, call, token) {
            Ok(StartedCall::Sent(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    /// Starts a call of the client whose message is sent in chunks.
    pub(crate) fn start_large(&mut self, message: Bytes) {
        let started = self
            .client
            .connection
            .start_call(self.now, unary(message), 1);
        assert!(matches!(started, Ok(StartedCall::Sent(_))), "{started:?}");
    }

    /// Starts a call of the client that waits for room.
    pub(crate) fn start_waiting(&mut self, token: u32, call: NewCall) {
        let started = self.client.connection.start_call(self.now, call, token);
        assert_eq!(started, Ok(StartedCall::Waiting));
    }

    pub(crate) fn refused(&mut self, call: NewCall) -> Refusal {
        let started = self.client.connection.start_call(self.now, call, 0);
        started.expect_err("a call that cannot be served").1
    }
}

/// Sends the next message of a stream; false if it has to wait.
pub(crate) fn send(
    machine: &mut Connection<u32>,
    call: CallId,
    message: impl Into<Bytes>,
) -> Result<bool, Refusal> {
    let mut batch = BatchBuilder::new(call);
    batch.push(|buffer| buffer.put(message.into()));
    let sent = machine.send_batch(call, batch.take())?;
    Ok(sent.messages == 1)
}

/// The end of a call of the other side that has succeeded.
pub(crate) fn ok(call: CallId) -> End {
    End {
        call,
        code: Code::Ok,
        refused: false,
        metadata: Metadata::new(),
        text: String::new(),
        details: Bytes::new(),
    }
}

/// A start time: a machine has no clock, and an `Instant` cannot be made in another way.
#[allow(
    clippy::disallowed_methods,
    reason = "tests count from it and never ask again"
)]
pub(crate) fn beginning() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    *BEGINNING.get_or_init(Instant::now)
}

/// Of the [`MIN_CALLS`](wawo_protocol::MIN_CALLS) slots, those for calls that no handler makes.
pub(crate) const OUTER_CALLS: u32 = 60;

/// A call that a handler makes, at this depth.
pub(crate) fn nested(depth: u32) -> NewCall {
    NewCall { depth, ..unary("") }
}

/// A call with one message and no deadline.
pub(crate) fn unary(message: impl Into<Bytes>) -> NewCall {
    NewCall {
        service: ServiceId(7),
        method: MethodId(1),
        deadline: None,
        deadline_source: DeadlineSource::Call,
        depth: 0,
        metadata: Metadata::new(),
        message: Some(message.into().into()),
        end: true,
        one_way: false,
    }
}

/// A call whose requests are a stream, without a first one.
pub(crate) fn stream() -> NewCall {
    NewCall {
        message: None,
        end: false,
        ..unary("")
    }
}

/// A message of the given number of bytes.
pub(crate) fn bytes(length: usize) -> Bytes {
    (0..length)
        .map(|index| index as u8)
        .collect::<Vec<_>>()
        .into()
}

/// A configuration changed by `change`.
pub(crate) fn config(change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Config {
    change(Config::builder())
        .build()
        .expect("settings in their ranges")
}
