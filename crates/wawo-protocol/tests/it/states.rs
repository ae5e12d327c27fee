//! The state vectors of the repository, over a state machine of each side.

mod application;
mod tester;
pub(crate) mod vector;

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use wawo_protocol::Side;

use crate::{
    pair::beginning,
    states::{
        application::{Application, LONGEST, Machine},
        tester::{Action, Tester},
        vector::Vector,
    },
};

/// The side under test.
struct Tested {
    now: Instant,
    machine: Machine,
    application: Application,
    input: BytesMut,
}

impl Tested {
    fn new(side: Side) -> Self {
        let now = beginning();
        Self {
            now,
            machine: Machine::new(side, vector::config(), now),
            application: Application::default(),
            input: BytesMut::new(),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.act();
    }

    /// Acts on all events. An error closes the machine, which has put the reason into its output.
    fn act(&mut self) {
        while let Ok(Some(event)) = self.machine.poll_event(self.now, &mut self.input) {
            self.application.handle(self.now, &mut self.machine, event);
        }
        self.application.look(self.now, &mut self.machine);
    }

    /// What the machine sends next, if need be after some time; `None` at the end of its bytes.
    fn sends(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            self.machine.fill_output();
            self.act();
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
            self.act();
        }
    }
}

fn run(side: Side, vector: Vector) -> Result<(), String> {
    let mut tested = Tested::new(side);
    let mut tester = Tester::new(side.other(), vector);
    loop {
        match tester.next()? {
            Action::Send(bytes) => tested.take(&bytes),
            Action::Finish => tested.machine.lose(),
            Action::Read => match tested.sends()? {
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
