//! One-way messages that a connection had not sent when it ended, for the next connection of their peer.

use std::{mem, task::Waker};

use wawo_protocol::NewCall;

use crate::{
    body::Body,
    call_depth,
    connection::mailbox::{Command, Mailbox},
    request::Request,
};

/// One-way messages that were in a mailbox when its connection ended. The limits of the mailbox bound
/// them.
#[derive(Debug, Default)]
pub(crate) struct UnsentMessages(Vec<Command>);

impl UnsentMessages {
    /// Messages that the protocol has not sent.
    pub(crate) fn of_calls(calls: Vec<NewCall>) -> Self {
        let messages = calls.into_iter().filter_map(|mut call| {
            let body = Body::One(call.message?);
            let mut request = Request::by_id(call.service, call.method, true, body);
            let head = request.head_mut();
            // The depth travels as metadata, and is added when the message is sent.
            let _ = call_depth::take(&mut call.metadata);
            head.metadata = call.metadata;
            head.call_depth = call.depth;
            head.takes_default = false;
            (head.deadline, head.deadline_source) = (call.deadline, call.deadline_source);
            Some(Command::OneWay(request))
        });
        Self(messages.collect())
    }

    pub(crate) fn into_commands(self) -> impl Iterator<Item = Command> {
        self.0.into_iter()
    }

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
