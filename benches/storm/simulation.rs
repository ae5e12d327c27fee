//! A simulation, by discrete events, of many clients that lose their connections and come back.
//!
//! ```text
//!  Client: Backoff ── dial ──► any Server that accepts ── handshake, one after the other ──► connected
//!     ▲                          │ no room, too late, dead
//!     └────── wait, at random ◄──┘
//! ```
//!
//! - **When a client dials again** is decided by `wawo::Backoff`, the code of a peer that reconnects.
//! - **A server** handles one handshake after the other, and each takes the same time of it. Clients that wait
//!   have room in the backlog of the socket and among `max_handshakes`. Without room there is no reply, and the
//!   client's system asks again after 1 and 3 s.
//! - **A client gives up** after `connect_timeout`. The server handles its handshake all the same, as the bytes
//!   have come, and that is wasted.
//!
//! Not simulated: the network, the calls, and the work that a connection causes after its handshake.

mod client;
mod events;
mod figures;
mod random;
mod server;

use std::time::Duration;

use wawo::Reconnect;

pub(crate) use self::figures::Figures;
use self::{
    client::{Client, Reset},
    events::{Events, Step},
    figures::Watch,
    random::Random,
    server::{Entry, Server},
};

/// The clients and servers of a simulation.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) clients: u32,
    pub(crate) servers: u32,
    /// How long a server is busy with one handshake.
    pub(crate) handshake: Duration,
    /// How many clients may wait for their handshakes at a server.
    pub(crate) room: u32,
    pub(crate) reconnect: Reconnect,
    pub(crate) reset: Reset,
    pub(crate) seed: u64,
}

pub(crate) use self::client::Reset as BackoffReset;

/// The room of a server by default: the backlog of its socket, and `max_handshakes`.
pub(crate) const DEFAULT_ROOM: u32 = 1024 + 1000;

/// How long a client tries to connect: the default of `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// When the system of a client asks for a connection, from the dial on, while there is no reply. Linux goes on
/// after 7 s, which is beyond the timeout.
const SYNS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// How long the connections have lasted when a simulation begins.
const LASTED: Duration = Duration::from_secs(3600);

/// The clients and servers, and what is to happen to them.
pub(crate) struct World {
    settings: Settings,
    now: Duration,
    random: Random,
    clients: Vec<Client>,
    servers: Vec<Server>,
    /// The servers that accept connections.
    accepting: Vec<u32>,
    events: Events,
    /// How many clients have no connection.
    missing: u32,
    watch: Watch,
}

impl World {
    /// All clients are connected, to each server the same number.
    pub(crate) fn new(settings: Settings) -> Self {
        let clients = (0..settings.clients).map(|client| {
            let server = client % settings.servers;
            Client::connected(settings.reconnect.backoff(), server)
        });
        Self {
            now: LASTED,
            random: Random(settings.seed),
            clients: clients.collect(),
            servers: (0..settings.servers).map(|_| Server::default()).collect(),
            accepting: (0..settings.servers).collect(),
            events: Events::default(),
            missing: 0,
            watch: Watch::new(LASTED, 0),
            settings,
        }
    }

    /// Counts anew from now on. The clients that have no connection now are those that have to come back.
    pub(crate) fn watch(&mut self) {
        self.watch = Watch::new(self.now, self.missing);
    }

    pub(crate) fn figures(&self) -> Figures {
        self.watch.figures()
    }

    /// Ends a server: its connections are lost, and its handshakes. Returns how many connections it had.
    pub(crate) fn kill(&mut self, server: u32) -> u32 {
        self.stop_accepting(server);
        let before = self.missing;
        for client in 0..self.settings.clients {
            let state = &self.clients[client as usize];
            let (is_trying, is_on) = (state.tries(server), state.is_on(server));
            if is_trying {
                self.try_failed(client);
            }
            if is_on {
                self.lose(client);
            }
        }
        self.missing - before
    }

    /// Starts a server, without connections.
    pub(crate) fn start(&mut self, server: u32) {
        self.servers[server as usize] = Server::default();
        self.accepting.push(server);
    }

    /// Asks the clients of a server to connect elsewhere. Without a spread all learn it at once, and each
    /// waits as its back-off says.
    pub(crate) fn drain(&mut self, server: u32) -> u32 {
        self.stop_accepting(server);
        let peers = self.clients_of(server);
        for &client in &peers {
            self.end_of_connection(client);
            self.wait(client);
        }
        peers.len() as u32
    }

    /// Asks each client of a server to connect elsewhere within a slice of a time, by MOVE, as
    /// `ServerDrain::spread` does.
    pub(crate) fn drain_spread(&mut self, server: u32, spread: Duration) -> u32 {
        self.stop_accepting(server);
        let peers = self.clients_of(server);
        let slice = spread / (peers.len() as u32).max(1);
        for (number, &client) in (0..).zip(&peers) {
            self.end_of_connection(client);
            let dial = self.now + slice * number + self.random.part(slice);
            self.plan(client, dial, Step::Dial);
        }
        peers.len() as u32
    }

    /// Runs until a time from the beginning of the watch.
    pub(crate) fn run_until(&mut self, time: Duration) {
        let until = self.watch.since + time;
        while let Some(event) = self.events.next_until(until) {
            self.now = event.at;
            if self.clients[event.client as usize].plan == event.plan {
                self.take(event.client, event.step);
            }
        }
        self.now = until;
    }

    /// Runs until all clients are back, at most for this time.
    pub(crate) fn run_until_back(&mut self, most: Duration) {
        let mut time = self.now - self.watch.since;
        while self.missing > 0 && time < most {
            time += Duration::from_secs(1);
            self.run_until(time);
        }
    }

    fn clients_of(&self, server: u32) -> Vec<u32> {
        let clients = (0..).zip(&self.clients);
        let of = clients.filter(|(_, state)| state.is_on(server));
        of.map(|(client, _)| client).collect()
    }

    fn stop_accepting(&mut self, server: u32) {
        self.accepting.retain(|other| *other != server);
    }

    fn take(&mut self, client: u32, step: Step) {
        match step {
            Step::Dial => self.dial(client),
            Step::Arrive(syn) => self.arrive(client, syn),
            Step::Up => self.up(client),
            Step::Fail => self.try_failed(client),
        }
    }

    /// A client dials a server that accepts, whichever it is told by the balancer in front of them.
    fn dial(&mut self, client: u32) {
        self.watch.dialled(self.now);
        match self.random.pick(&self.accepting) {
            None => self.try_failed(client),
            Some(server) => {
                self.clients[client as usize].begin_try(server, self.now);
                self.arrive(client, 0);
            }
        }
    }

    fn arrive(&mut self, client: u32, syn: usize) {
        let Some((server, dialled)) = self.clients[client as usize].current_try() else {
            return;
        };
        let give_up = dialled + CONNECT_TIMEOUT;
        let (handshake, room) = (self.settings.handshake, self.settings.room);
        match self.servers[server as usize].enter(self.now, handshake, room) {
            Entry::Full => {
                self.watch.dropped();
                match SYNS.get(syn + 1) {
                    Some(&next) => self.plan(client, dialled + next, Step::Arrive(syn + 1)),
                    None => self.plan(client, give_up, Step::Fail),
                }
            }
            Entry::Done(at) if at <= give_up => self.plan(client, at, Step::Up),
            Entry::Done(_) => {
                self.watch.wasted();
                self.plan(client, give_up, Step::Fail);
            }
        }
    }

    fn up(&mut self, client: u32) {
        let state = &mut self.clients[client as usize];
        self.missing -= u32::from(!state.is_connected());
        state.up(self.now, self.settings.reset);
        self.watch.up(self.now, self.missing);
    }

    fn try_failed(&mut self, client: u32) {
        self.clients[client as usize].end_try();
        self.wait(client);
    }

    fn lose(&mut self, client: u32) {
        self.end_of_connection(client);
        let state = &mut self.clients[client as usize];
        state.lose();
        let is_idle = !state.is_trying() && !state.has_plan;
        self.missing += 1;
        self.watch.lost(self.missing);
        if is_idle {
            self.wait(client);
        }
    }

    /// Records how long the connection of a client has lasted, which is to be replaced.
    fn end_of_connection(&mut self, client: u32) {
        self.clients[client as usize].connection_ended(self.now);
    }

    /// Lets a client wait before its next try.
    fn wait(&mut self, client: u32) {
        let random = self.random.next();
        let wait = self.clients[client as usize].backoff.next_wait(random);
        self.plan(client, self.now + wait, Step::Dial);
    }

    /// Sets the next step of a client, in place of the one before.
    fn plan(&mut self, client: u32, at: Duration, step: Step) {
        let plan = self.clients[client as usize].new_plan();
        self.events.add(at, client, plan, step);
    }
}
