//! Two honest machines with their users, and the events of their life.

mod user;

use std::time::Duration;

use wawo_protocol::{Code, Config, MIN_CALLS, MIN_CREDIT_BYTES};

use crate::{
    pair::{Node, Pair, config},
    world::user::User,
};

/// An operation of one side's user, if there is a call for it.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Start(Requests, usize, Option<u64>),
    /// Starts more calls than the other side has slots.
    Burst,
    Note(usize),
    Cancel(usize),
    Send(usize, usize, bool),
    Finish(usize),
    Reply(usize, usize),
    OpenReply(usize),
    End(usize, Code),
    Consume,
}

/// How the caller's direction begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requests {
    One,
    Stream,
    StreamWithFirst,
}

/// A step: an operation, or time that passes.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Client(Operation),
    Server(Operation),
    /// Everything that can arrive by now arrives.
    Run,
    Pass(u64),
}

/// The minimum of each limit, and few calls that may wait, so that limits are met often.
fn least() -> Config {
    config(|config| {
        config
            .max_calls(MIN_CALLS)
            .initial_credit_bytes(MIN_CREDIT_BYTES)
            .request_credit_bytes(MIN_CREDIT_BYTES)
            .reply_credit_bytes(MIN_CREDIT_BYTES)
            .max_waiting_calls(2 * MIN_CALLS as usize)
    })
}

/// The two machines with their users.
pub(crate) struct World {
    pair: Pair,
    client: User,
    server: User,
}

impl World {
    pub(crate) fn new(part: usize, delay: u64) -> Self {
        let mut pair = Pair::with(least(), least());
        pair.part = part;
        pair.delay = Duration::from_millis(delay);
        Self {
            pair,
            client: User::default(),
            server: User::default(),
        }
    }

    pub(crate) fn take(&mut self, step: &Step) {
        let now = self.pair.now;
        match step {
            Step::Client(operation) => {
                self.client
                    .act(now, &mut self.pair.client.connection, operation);
            }
            Step::Server(operation) => {
                self.server
                    .act(now, &mut self.pair.server.connection, operation);
            }
            Step::Run => self.pair.run(),
            Step::Pass(millis) => self.pair.run_for(Duration::from_millis(*millis)),
        }
        self.hear();
    }

    /// Lets the users take their events; `false` if there are none.
    fn hear(&mut self) -> bool {
        let mut heard = false;
        for (user, node) in self.nodes() {
            assert!(node.error.is_none(), "{:?}", node.error);
            for event in node.heard() {
                user.hear(&mut node.connection, event);
                heard = true;
            }
        }
        heard
    }

    /// Drains the given sides, then both users end everything that they have begun.
    pub(crate) fn wind_up(&mut self, drain: [bool; 2]) {
        for (node, drain) in self.nodes().into_iter().zip(drain) {
            if drain {
                node.1.connection.drain();
            }
        }
        // A round admits only as many calls and messages as the limits allow, and users without
        // events have nothing more to do: anything left then would be left forever.
        loop {
            for (user, node) in self.nodes() {
                user.wind_up(&mut node.connection);
            }
            self.pair.run();
            if !self.hear() {
                break;
            }
        }
        for (user, node) in self.nodes() {
            nothing_is_left(user, node);
        }
    }

    /// The link is lost: everything that has not ended is returned now.
    pub(crate) fn lose(&mut self) {
        self.pair.cut();
        for (user, node) in self.nodes() {
            user.lose(node.connection.take_calls());
            user.is_done();
        }
    }

    fn nodes(&mut self) -> [(&mut User, &mut Node); 2] {
        [
            (&mut self.client, &mut self.pair.client),
            (&mut self.server, &mut self.pair.server),
        ]
    }
}

fn nothing_is_left(user: &User, node: &mut Node) {
    user.is_done();
    let machine = &mut node.connection;
    assert_eq!((machine.calls_started(), machine.calls_waiting()), (0, 0));
    assert_eq!((machine.calls_served(), machine.held_bytes()), (0, (0, 0)));
    assert!(!machine.wants_output() && !machine.has_events());
    assert!(machine.take_calls().is_empty());
}
