//! One-way messages that a connection had not sent when it ended, for the next connection of their peer.

use std::{mem, task::Waker};

use wawo_protocol::NewCall;

use crate::{
    body::Body,
    call_depth,
    connection::mailbox::{Command, Mailbox},
    request::Request,
};

/// One-way messages that connections had not sent when they ended, or when the other side drained.
///
/// A connection leaves as many as its mailbox and its protocol take. A peer that leaves one stalled
/// connection after the other would gather ever more, so there are at most [`MAX_UNSENT`].
#[derive(Debug, Default)]
pub(crate) struct UnsentMessages(Vec<Command>);

/// How many messages that connections have not sent may wait for the next one. By default, a connection
/// leaves at most 32,768: half of them were in its mailbox, half in its protocol.
pub(crate) const MAX_UNSENT: usize = 64 * 1024;

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

    /// Adds messages behind these. Returns the last of them, if there are too many.
    pub(crate) fn append(&mut self, mut later: Self) -> Self {
        let room = MAX_UNSENT.saturating_sub(self.len());
        let surplus = later.split_off(room);
        self.0.append(&mut later.0);
        surplus
    }

    /// Splits off the last messages, so that at most this many stay. Messages of one batch stay together.
    fn split_off(&mut self, max: usize) -> Self {
        let mut count = 0;
        let staying = self.0.iter().take_while(|command| {
            count += messages(command);
            count <= max
        });
        Self(self.0.split_off(staying.count()))
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(messages).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Mailbox {
    /// Leaves messages before all that is here. As long as they wait, they take the room of others, and may
    /// be more: with them, at most [`MAX_UNSENT`] commands and messages are here. Returns the last ones, if
    /// there are too many. If the connection is over, all stay in `unsent`.
    pub(crate) fn put_first(&self, unsent: &mut UnsentMessages) -> UnsentMessages {
        let mut state = self.lock();
        if state.closed.is_some() {
            return UnsentMessages::default();
        }
        let room = MAX_UNSENT.saturating_sub(state.commands.len() + state.one_way_messages);
        let mut first = mem::take(unsent);
        let surplus = first.split_off(room);
        for command in &first.0 {
            match command {
                Command::OneWay(request) => state.bytes += request.body().message_bytes(),
                Command::OneWayBatch(batch) => {
                    state.bytes += batch.packet_bytes();
                    state.one_way_messages += batch.len();
                }
                _ => {}
            }
        }
        let later = mem::replace(&mut state.commands, first.0);
        state.commands.extend(later);
        let driver = state.driver.take();
        drop(state);
        driver.into_iter().for_each(Waker::wake);
        surplus
    }
}

/// The number of one-way messages in a command.
fn messages(command: &Command) -> usize {
    match command {
        Command::OneWay(_) => 1,
        Command::OneWayBatch(batch) => batch.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use wawo_protocol::{ConnectionError, MethodId, ServiceId, packet::OneWayBatch};

    use super::{MAX_UNSENT, UnsentMessages};
    use crate::connection::mailbox::{
        Command,
        tests::{command, mailbox},
    };

    /// This many one-way messages, in one batch.
    fn unsent(messages: usize) -> UnsentMessages {
        let mut batch = OneWayBatch::with_capacity(0);
        (0..messages).for_each(|_| batch.push(ServiceId(1), MethodId(2), b""));
        let mut unsent = UnsentMessages::default();
        assert!(unsent.add(Command::OneWayBatch(batch)).is_none());
        unsent
    }

    #[test]
    fn messages_that_were_not_sent_are_bounded() {
        let mut kept = unsent(1);
        assert_eq!(kept.append(unsent(MAX_UNSENT - 1)).len(), 0);
        let surplus = kept.append(unsent(1));
        assert_eq!((kept.len(), surplus.len()), (MAX_UNSENT, 1));

        let mailbox = mailbox();
        mailbox.push(command(), 0).unwrap();
        let mut first = unsent(MAX_UNSENT - 2);
        assert_eq!(first.append(unsent(1)).len(), 0);
        assert_eq!(first.append(unsent(1)).len(), 0);
        let surplus = mailbox.put_first(&mut first);
        assert_eq!((first.len(), surplus.len()), (0, 1));
        let mut commands = Vec::new();
        mailbox.take(&mut commands);
        assert_eq!(commands.len(), 3);

        let mut later = unsent(1);
        assert_eq!(mailbox.put_first(&mut later).len(), 0);
        mailbox.close(&ConnectionError::ClosedHere, &mut Vec::new());
        let mut late = unsent(1);
        let surplus = mailbox.put_first(&mut late);
        assert_eq!((later.len(), late.len(), surplus.len()), (0, 1, 0));
    }
}
