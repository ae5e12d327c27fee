//! Two honest machines under random operations of their users: neither ever finds fault with the
//! other, every call ends exactly once, and every message arrives whole and in order.

mod user;

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*};
use wawo_protocol::{Code, Config, MIN_CALLS, MIN_CREDIT_BYTES};

use crate::{
    honest::user::User,
    pair::{Node, Pair, config},
};

/// Something that the user of one side does, if there is a call to do it with.
#[derive(Debug, Clone)]
enum Operation {
    Start(Requests, usize, Option<u64>),
    /// More calls than the other side takes at once.
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

/// How the caller's direction of a call begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requests {
    One,
    Stream,
    StreamWithFirst,
}

/// What happens: somebody does something, or time passes.
#[derive(Debug, Clone)]
enum Step {
    Client(Operation),
    Server(Operation),
    /// What can arrive by now, does.
    Run,
    Pass(u64),
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..100_usize, 1 => 1_000..40_000_usize, 1 => 60_000..300_000_usize]
}

fn operation() -> impl Strategy<Value = Operation> {
    let requests = prop_oneof![
        Just(Requests::One),
        Just(Requests::Stream),
        Just(Requests::StreamWithFirst),
    ];
    let which = || 0..100_usize;
    let code = prop_oneof![Just(Code::Ok), Just(Code::Aborted)];
    prop_oneof![
        6 => (requests, length(), option::of(0..300_u64))
            .prop_map(|(requests, length, millis)| Operation::Start(requests, length, millis)),
        1 => Just(Operation::Burst),
        2 => length().prop_map(Operation::Note),
        1 => which().prop_map(Operation::Cancel),
        8 => (which(), length(), prop::bool::weighted(0.2))
            .prop_map(|(which, length, last)| Operation::Send(which, length, last)),
        1 => which().prop_map(Operation::Finish),
        3 => (which(), length()).prop_map(|(which, length)| Operation::Reply(which, length)),
        3 => which().prop_map(Operation::OpenReply),
        2 => (which(), code).prop_map(|(which, code)| Operation::End(which, code)),
        3 => Just(Operation::Consume),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => operation().prop_map(Step::Client),
        4 => operation().prop_map(Step::Server),
        4 => Just(Step::Run),
        1 => (0..200_u64).prop_map(Step::Pass),
    ]
}

/// The least that a side may take, so that limits are met often.
fn least() -> Config {
    config(|config| {
        config.limits.max_calls = MIN_CALLS;
        config.limits.initial_credit_bytes = MIN_CREDIT_BYTES;
        config.limits.request_credit_bytes = MIN_CREDIT_BYTES;
        config.limits.reply_credit_bytes = MIN_CREDIT_BYTES;
    })
}

/// The two machines with their users.
struct World {
    pair: Pair,
    client: User,
    server: User,
}

impl World {
    fn new(piece: usize, delay: u64) -> Self {
        let mut pair = Pair::with(least(), least());
        pair.piece = piece;
        pair.delay = Duration::from_millis(delay);
        Self {
            pair,
            client: User::default(),
            server: User::default(),
        }
    }

    fn take(&mut self, step: &Step) {
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

    fn hear(&mut self) {
        for (user, node) in [
            (&mut self.client, &mut self.pair.client),
            (&mut self.server, &mut self.pair.server),
        ] {
            assert!(node.error.is_none(), "{:?}", node.error);
            for event in node.heard() {
                user.hear(&mut node.connection, event);
            }
        }
    }

    /// Both users bring all that they have begun to its end.
    fn wind_up(&mut self) {
        for _ in 0..100 {
            self.client.wind_up(&mut self.pair.client.connection);
            self.server.wind_up(&mut self.pair.server.connection);
            self.pair.run();
            self.hear();
        }
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_call_ends_once_and_every_message_arrives_in_order(
        steps in vec(step(), 1..120),
        piece in prop_oneof![Just(997_usize), Just(usize::MAX)],
        delay in prop_oneof![Just(0_u64), Just(40)],
        drain in any::<[bool; 2]>(),
    ) {
        let mut world = World::new(piece, delay);
        for step in &steps {
            world.take(step);
        }
        for (node, drain) in [&mut world.pair.client, &mut world.pair.server].into_iter().zip(drain) {
            if drain {
                node.connection.drain();
            }
        }
        world.wind_up();
        nothing_is_left(&world.client, &mut world.pair.client);
        nothing_is_left(&world.server, &mut world.pair.server);
    }
}
