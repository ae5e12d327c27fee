//! The memory of this side that the calls of the other side take, and its limits: streams, first
//! messages, and replies that wait to be read.
//!
//! A call may be small and its reply large, so a peer that calls and does not read could make this
//! side hold much memory. Its calls are refused while more than `max_waiting_reply_bytes` of replies
//! wait. Handlers that are already running may still reply, until twice as many bytes wait.

use crate::{config::Config, connection::refusal::Overload};

/// The memory that all calls of the other side take.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Calls that are streams, in either direction.
    streams: usize,
    /// First messages with their metadata, in bytes.
    opening_bytes: u64,
    /// Replies and statuses that wait to be sent, streams aside, in bytes.
    reply_bytes: u64,
}

/// The memory that one call takes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Share {
    is_stream: bool,
    opening_bytes: u64,
    reply_bytes: u64,
}

impl Load {
    /// Counts the bytes that a call begins with, which it holds until it is over.
    #[inline]
    pub(crate) fn add_call(&mut self, bytes: u64, config: &Config) -> Result<Share, Overload> {
        let (waiting, max) = (self.reply_bytes, config.max_waiting_reply_bytes());
        if waiting > max as u64 {
            return Err(Overload::WaitingReplies { waiting, max });
        }
        let (before, max) = (self.opening_bytes, config.max_opening_bytes());
        if before + bytes > max as u64 {
            return Err(Overload::Opening { bytes, before, max });
        }
        self.opening_bytes += bytes;
        Ok(Share {
            opening_bytes: bytes,
            ..Share::default()
        })
    }

    /// Counts a call as a stream. Returns `true` if it was not counted as one before.
    pub(crate) fn add_stream(
        &mut self,
        share: &mut Share,
        config: &Config,
    ) -> Result<bool, Overload> {
        let max = config.max_streams();
        if share.is_stream {
            return Ok(false);
        }
        if self.streams >= max {
            return Err(Overload::Streams { max });
        }
        self.streams += 1;
        share.is_stream = true;
        Ok(true)
    }

    /// Checks that a reply of `length` bytes may be sent, or wait for that. If no other reply waits,
    /// it always may, so that the largest reply can leave.
    #[inline]
    pub(crate) fn check_reply(&self, length: usize, config: &Config) -> Result<(), Overload> {
        let (waiting, max) = (self.reply_bytes, config.max_waiting_reply_bytes());
        let most = (max as u64).saturating_mul(2);
        match waiting > 0 && waiting + length as u64 > most {
            true => Err(Overload::Reply {
                length,
                waiting,
                max,
            }),
            false => Ok(()),
        }
    }

    /// Counts the reply of a call as waiting, in place of what waited before.
    pub(crate) fn set_reply(&mut self, share: &mut Share, bytes: usize) {
        self.reply_bytes -= std::mem::take(&mut share.reply_bytes);
        self.add_reply(share, bytes);
    }

    /// Counts further bytes of the reply of a call as waiting.
    pub(crate) fn add_reply(&mut self, share: &mut Share, bytes: usize) {
        share.reply_bytes += bytes as u64;
        self.reply_bytes += bytes as u64;
    }

    /// Takes off all that a call held, which is over.
    #[inline]
    pub(crate) fn remove(&mut self, share: &Share) {
        self.streams -= usize::from(share.is_stream);
        self.opening_bytes -= share.opening_bytes;
        self.reply_bytes -= share.reply_bytes;
    }

    pub(crate) fn opening_bytes(&self) -> u64 {
        self.opening_bytes
    }

    pub(crate) fn reply_bytes(&self) -> u64 {
        self.reply_bytes
    }
}

impl Share {
    pub(crate) fn is_stream(&self) -> bool {
        self.is_stream
    }
}
