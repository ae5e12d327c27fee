//! The commands of a connection whose driver has not begun: calls wait, and the others are few.

use std::{
    task::{Context, Waker},
    time::{Duration, Instant},
};

use wawo_protocol::CloseCode;

use crate::{
    connection::{
        drain::DRAINED,
        mailbox::{Mailbox, State, command::Command},
        snapshot::PeerSnapshot,
    },
    request::DefaultTimeouts,
};

/// The state of a mailbox that no driver empties yet.
#[derive(Debug)]
pub(crate) enum EarlyCommands {
    /// Calls wait. The earliest of their deadlines, if any has one.
    Wait(Option<Instant>),
    /// The connection has to be closed with this reason.
    Close(CloseCode, String),
}

impl Mailbox {
    /// Ends the calls whose deadlines have passed, and looks for a command that ends the connection. The
    /// next command wakes the task.
    pub(crate) fn poll_early(
        &self,
        cx: &Context<'_>,
        now: Instant,
        defaults: &DefaultTimeouts,
        wakers: &mut Vec<Waker>,
    ) -> EarlyCommands {
        let mut state = self.lock();
        match &mut state.driver {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        state.report_early();
        if let Some((code, reason)) = state.end() {
            return EarlyCommands::Close(code, reason);
        }
        EarlyCommands::Wait(state.look(now, Duration::ZERO, defaults, wakers))
    }
}

impl State {
    /// Answers those who ask how much the connection holds: nothing but the calls that wait.
    fn report_early(&mut self) {
        let is_call =
            |command: &&Command| matches!(command, Command::Call(..) | Command::PlainCall(..));
        let calls_out = self.commands.iter().filter(is_call).count();
        let is_question = |command: &mut Command| matches!(command, Command::Snapshot(_));
        for command in self.commands.extract_if(.., is_question) {
            if let Command::Snapshot(sender) = command {
                // The send fails if the caller has stopped waiting, which is no error.
                let _ = sender.send(PeerSnapshot {
                    calls_out,
                    ..PeerSnapshot::default()
                });
            }
        }
    }

    /// The reason with which the connection has to be closed: a drain has no call in flight to wait for.
    fn end(&self) -> Option<(CloseCode, String)> {
        self.commands.iter().find_map(|command| match command {
            Command::Close(code, reason) => Some((*code, reason.clone())),
            Command::Drain => Some((CloseCode::Normal, DRAINED.to_owned())),
            _ => None,
        })
    }
}
