//! One call seen from one side, whichever side started it: its state, its two halves, and the credit
//! that it holds.

mod assembler;
mod credit;
mod recv_half;
mod send_half;
mod state;

use std::time::Instant;

pub(crate) use crate::call::{
    assembler::AssemblyBuffer,
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
    /// When its first packet was sent or received.
    pub(crate) began: Instant,
    pub(crate) deadline: Option<Instant>,
    /// The part of the first message's cost that was not consumed. It does not count against the
    /// shared credit.
    first_unread: u64,
    /// The part of the further messages' cost that is not freed. It counts against the shared
    /// credit.
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

    /// Counts the first message of the received direction, which has come or begun.
    pub(crate) fn hold_first(&mut self, length: usize) {
        self.first_unread = cost(length);
    }

    /// Counts a further message, which has come or begun and has paid its cost.
    pub(crate) fn hold(&mut self, cost: u64) {
        self.held += cost;
    }

    /// Counts messages of this cost as consumed by the application. Returns the part of it that goes
    /// back to the shared credit.
    pub(crate) fn free(&mut self, cost: u64) -> u64 {
        let first = cost.min(self.first_unread);
        self.first_unread -= first;
        let freed = (cost - first).min(self.held);
        self.held -= freed;
        freed
    }

    /// Takes all the cost that goes back to the shared credit when the call is over.
    pub(crate) fn free_all(&mut self) -> u64 {
        std::mem::take(&mut self.held)
    }

    /// Whether the call stands in a queue.
    pub(crate) fn is_queued(&self) -> bool {
        let send_half = self.send_half.as_ref();
        send_half.is_some_and(|send_half| send_half.is_queued)
    }

    /// Whether a message has begun to come and is not whole.
    pub(crate) fn is_partly_received(&self) -> bool {
        let recv_half = self.recv_half.as_ref();
        recv_half.is_some_and(|recv_half| recv_half.is_partly_received())
    }

    /// The receive half, if the driver may now read further messages that come whole, each in one
    /// packet.
    pub(crate) fn recv_half_for_batch(&mut self) -> Option<&mut RecvHalf> {
        let recv_half = self.recv_half.as_deref_mut();
        let recv_half = recv_half.filter(|recv_half| !recv_half.is_partly_received())?;
        self.state.is_streaming().then_some(recv_half)
    }
}
