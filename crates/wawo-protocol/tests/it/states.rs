//! The state vectors of the repository, over a state machine of each side.

mod application;
mod tester;
mod text;
pub(crate) mod vector;

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use wawo_protocol::Side;

use crate::{
    pair::{beginning, connection},
    states::{
        application::{Application, LONGEST, Machine},
        tester::{Action, Tester},
        vector::Vector,
    },
};

/// A state machine and its application.
struct SideUnderTest {
    now: Instant,
    machine: Machine,
    application: Application,
    input: BytesMut,
}

impl SideUnderTest {
    fn new(side: Side) -> Self {
        let now = beginning();
        Self {
            now,
            machine: connection(side, vector::config(), now),
            application: Application::default(),
            input: BytesMut::new(),
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.handle_events();
    }

    /// Handles all events. An error closes the machine, which has put the reason into its output.
    fn handle_events(&mut self) {
        while let Ok(Some(event)) = self.machine.poll_event(self.now, &mut self.input) {
            self.application.handle(self.now, &mut self.machine, event);
        }
        self.application.end_waiting(self.now, &mut self.machine);
    }

    /// Returns the bytes that the machine sends next, if need be after some time; `None` at their end.
    fn next_output(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            self.machine.fill_output();
            self.handle_events();
            let output = self.machine.output();
            if !output.is_empty() {
                let bytes = Bytes::copy_from_slice(output.first());
                output.advance(bytes.len());
                return Ok(Some(bytes));
            }
            if self.machine.is_closed() {
                return Ok(None);
            }
            let timeouts = [self.machine.poll_timeout(), self.application.poll_timeout()];
            let next = timeouts.into_iter().flatten().min();
            let next = next.filter(|next| *next <= beginning() + LONGEST);
            self.now = next.ok_or("nothing more comes")?;
            // An error is in the output, as a close packet.
            let _ = self.machine.handle_timeout(self.now);
            self.handle_events();
        }
    }
}

fn run(side: Side, vector: Vector) -> Result<(), String> {
    let mut under_test = SideUnderTest::new(side);
    let mut tester = Tester::new(side.other(), vector);
    loop {
        match tester.next()? {
            Action::Send(bytes) => under_test.receive(&bytes),
            Action::Finish => under_test.machine.lose(),
            Action::Read => match under_test.next_output()? {
                Some(bytes) => tester.receive(&bytes)?,
                None => tester.receive_end(),
            },
            Action::Done => return Ok(()),
        }
    }
}

fn run_all(side: Side) {
    let failed = vector::vectors().into_iter().filter_map(|vector| {
        let name = vector.name.clone();
        let error = run(side, vector).err()?;
        Some(format!("{name}: {error}\n"))
    });
    let failed: String = failed.collect();
    assert!(failed.is_empty(), "{failed}");
}

#[test]
fn an_accepting_side_has_the_outcome_of_each_vector() {
    run_all(Side::Accepting);
}

#[test]
fn a_connecting_side_has_the_outcome_of_each_vector() {
    run_all(Side::Connecting);
}
