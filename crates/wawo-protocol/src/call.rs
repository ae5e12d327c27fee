//! One call seen from one side, whichever side started it: its state, its two halves, and the credit
//! that it holds.

mod assembler;
mod credit;
mod recv_half;
mod send_half;
mod state;

use std::time::Instant;

pub(crate) use crate::call::{
    assembler::{AssemblyBuffer, MessageLimits},
    credit::{RecvCredit, SendCredit},
    recv_half::{RecvHalf, RecvOutcome},
    send_half::{Next, SendHalf, add_credit},
    state::{State, Step},
};
use crate::message::cost;

/// A call, seen from one side.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) state: State,
    /// A one-way message in chunks: nothing comes back, and it is over with its last chunk.
    pub(crate) is_one_way: bool,
    /// When its first packet was sent or came.
    pub(crate) began: Instant,
    pub(crate) deadline: Option<Instant>,
    /// The part of the first message's cost that was not consumed. It takes no credit of all calls.
    first_unread: u64,
    /// The part of the further messages' cost that is not freed. It takes credit of all calls.
    held: u64,
    /// `None` once the direction has ended, for a caller; before it begins, for a callee.
    pub(crate) send_half: Option<Box<SendHalf>>,
    /// `None` until more than a single packet comes.
    pub(crate) recv_half: Option<Box<RecvHalf>>,
}

impl Call {
    pub(crate) fn new(state: State, began: Instant, deadline: Option<Instant>) -> Self {
        Self {
            state,
            is_one_way: false,
            began,
            deadline,
            first_unread: 0,
            held: 0,
            send_half: None,
            recv_half: None,
        }
    }

    /// The first message of the received direction has come, or begun.
    pub(crate) fn hold_first(&mut self, length: usize) {
        self.first_unread = cost(length);
    }

    /// A further message has come, or begun, and has paid its cost.
    pub(crate) fn hold(&mut self, cost: u64) {
        self.held += cost;
    }

    /// The application has taken messages of this cost. Returns what goes back to the credit of all
    /// calls.
    pub(crate) fn free(&mut self, cost: u64) -> u64 {
        let first = cost.min(self.first_unread);
        self.first_unread -= first;
        let freed = (cost - first).min(self.held);
        self.held -= freed;
        freed
    }

    /// All that goes back to the credit of all calls when the call is over.
    pub(crate) fn free_all(&mut self) -> u64 {
        std::mem::take(&mut self.held)
    }

    /// Whether the call stands in a queue.
    pub(crate) fn is_queued(&self) -> bool {
        let send_half = self.send_half.as_ref();
        send_half.is_some_and(|send_half| send_half.is_queued)
    }

    /// Whether the beginning of a message is here and its end is not.
    pub(crate) fn is_partly_received(&self) -> bool {
        let recv_half = self.recv_half.as_ref();
        recv_half.is_some_and(|recv_half| recv_half.is_partly_received())
    }

    /// The receive half, if the driver may get further messages now, each in a packet of its own.
    pub(crate) fn recv_half_for_batch(&mut self) -> Option<&mut RecvHalf> {
        let recv_half = self.recv_half.as_deref_mut();
        let recv_half = recv_half.filter(|recv_half| !recv_half.is_partly_received())?;
        self.state.is_streaming().then_some(recv_half)
    }
}
