//! Replies that wait for the other side to read them.
//!
//! A call is small and its reply may be large, so that a peer which calls and does not read could make
//! this side hold much. Its calls are refused while more than `max_waiting_reply_bytes` wait. Handlers
//! that are at work then may still reply; twice as much is where their replies are refused.

use crate::{
    code::Code,
    connection::{Connection, start::metadata_bytes},
    id::CallId,
    packet::End,
};

impl<T> Connection<T> {
    /// Whether more waits than the limit, so that calls are refused.
    #[inline]
    pub(crate) fn has_many_replies(&self) -> bool {
        self.waiting_reply_bytes > self.config.max_waiting_reply_bytes() as u64
    }

    /// Refuses a call if too much waits; returns whether it may go on.
    pub(crate) fn admit_replies(&mut self, id: CallId) -> bool {
        if !self.has_many_replies() {
            return true;
        }
        let (waiting, max) = (
            self.waiting_reply_bytes,
            self.config.max_waiting_reply_bytes(),
        );
        let text = format!(
            "a call while replies of {waiting} bytes wait to be read; \
             the callee takes none over {max} (max_waiting_reply_bytes)"
        );
        let end = Self::end_packet(id, Code::ResourceExhausted, text);
        self.end(End {
            refused: true,
            ..end
        });
        false
    }

    /// Whether one more reply is too much. One that no other waits before never is.
    pub(crate) fn is_over_replies(&self, length: usize) -> bool {
        let most = (self.config.max_waiting_reply_bytes() as u64).saturating_mul(2);
        self.waiting_reply_bytes > 0 && self.waiting_reply_bytes + length as u64 > most
    }

    /// The end of a call whose reply is refused.
    pub(crate) fn too_many_replies(&self, id: CallId, length: usize) -> End {
        let waiting = self.waiting_reply_bytes;
        let max = self.config.max_waiting_reply_bytes();
        let text = format!(
            "a reply of {length} bytes, where others of {waiting} bytes wait to be read; \
             the callee keeps at most twice {max} (max_waiting_reply_bytes)"
        );
        Self::end_packet(id, Code::ResourceExhausted, text)
    }

    /// The reply of a call waits, in place of what waited before.
    pub(crate) fn set_waiting_reply(&mut self, id: CallId, bytes: usize) {
        if let Some(theirs) = self.theirs.get_mut(id.index()) {
            let before = std::mem::replace(&mut theirs.waiting_reply_bytes, bytes as u64);
            self.waiting_reply_bytes += bytes as u64;
            self.waiting_reply_bytes -= before;
        }
    }

    /// More of the reply of a call waits.
    pub(crate) fn add_waiting_reply(&mut self, id: CallId, bytes: usize) {
        if let Some(theirs) = self.theirs.get_mut(id.index()) {
            theirs.waiting_reply_bytes += bytes as u64;
            self.waiting_reply_bytes += bytes as u64;
        }
    }
}

/// Bytes that a status takes until it is sent.
pub(crate) fn end_bytes(end: &End) -> usize {
    end.text.len() + end.details.len() + metadata_bytes(&end.metadata)
}
