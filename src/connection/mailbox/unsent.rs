//! One-way messages that a connection had not sent when it ended, for the next connection of their peer.

use std::{mem, task::Waker};

use crate::connection::mailbox::{Command, Mailbox};

/// One-way messages that were in a mailbox when its connection ended. The limits of the mailbox bound
/// them.
#[derive(Debug, Default)]
pub(crate) struct UnsentMessages(Vec<Command>);

impl UnsentMessages {
    /// Adds a command if it is a one-way message; otherwise returns it.
    pub(crate) fn add(&mut self, command: Command) -> Option<Command> {
        match command {
            Command::OneWay(_) | Command::OneWayBatch(_) => {
                self.0.push(command);
                None
            }
            other => Some(other),
        }
    }

    /// Adds messages behind these.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.0.append(&mut later.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Mailbox {
    /// Leaves messages before all that is here. They need no room: as long as they wait, they take the
    /// room of others. If the connection is over, they are returned.
    pub(crate) fn put_first(&self, messages: UnsentMessages) -> Result<(), UnsentMessages> {
        let mut state = self.lock();
        if state.closed.is_some() {
            return Err(messages);
        }
        for command in &messages.0 {
            match command {
                Command::OneWay(request) => state.bytes += request.body().message_bytes(),
                Command::OneWayBatch(batch) => {
                    state.bytes += batch.packet_bytes();
                    state.one_way_messages += batch.len();
                }
                _ => {}
            }
        }
        let later = mem::replace(&mut state.commands, messages.0);
        state.commands.extend(later);
        let driver = state.driver.take();
        drop(state);
        driver.into_iter().for_each(Waker::wake);
        Ok(())
    }
}
