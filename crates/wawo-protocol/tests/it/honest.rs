//! Two honest machines under random operations of their users: neither reports a violation of the
//! other, every call ends exactly once, and every message arrives whole and in order.

use proptest::{collection::vec, option, prelude::*};
use wawo_protocol::Code;

use crate::world::{Operation, Requests, Step, World};

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_call_ends_once_and_every_message_arrives_in_order(
        steps in vec(step(), 1..120),
        part in prop_oneof![Just(997_usize), Just(usize::MAX)],
        delay in prop_oneof![Just(0_u64), Just(40)],
        drain in any::<[bool; 2]>(),
    ) {
        let mut world = World::new(part, delay);
        for step in &steps {
            world.take(step);
        }
        world.wind_up(drain);
    }
}

#[test]
fn a_stream_of_many_times_the_credit_arrives_as_it_is_read() {
    let mut world = World::new(usize::MAX, 0);
    let start = Operation::Start(Requests::One, 0, None);
    world.take(&Step::Client(start));
    world.take(&Step::Run);
    world.take(&Step::Server(Operation::OpenReply(0)));
    // Each exceeds the credit, so the next one needs the previous one to be read.
    for _ in 0..300 {
        world.take(&Step::Server(Operation::Send(0, 90_000, false)));
    }
    world.wind_up([false; 2]);
}
