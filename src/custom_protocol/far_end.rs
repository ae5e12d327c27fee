//! The connection that plays the other end of a driver's connection, and the calls over it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use wawo_protocol::{
    CallId, Code, Config, Connection, DeadlineSource, MAX_LIMIT, MIN_MESSAGE_BYTES, Metadata,
    NewCall, Side, packet::End,
};

use crate::custom_protocol::packet::CustomPacket;

/// For timeouts that cannot happen: the bridge and its driver are one task, so neither can be silent or
/// lost.
const NEVER: Duration = Duration::MAX;

/// How many calls may wait for the driver's limits. While half as many wait, nothing is taken from the
/// other end.
const MAX_WAITING_CALLS: usize = 1024;

/// The connection of a bridge, which announces that it takes messages of at most `max_message_bytes`.
pub(super) fn connection(side: Side, now: Instant, max_message_bytes: usize) -> Connection<u32> {
    let defaults = Config::default();
    let most = u32::try_from(max_message_bytes).unwrap_or(MAX_LIMIT);
    let message = most.clamp(MIN_MESSAGE_BYTES, MAX_LIMIT);
    // The longest message of the driver has room together with the metadata that a call may carry.
    let longest = message + defaults.limits().max_metadata_bytes;
    let config = Config::builder()
        .max_message_bytes(message)
        .max_opening_bytes(defaults.max_opening_bytes().max(longest as usize))
        .max_waiting_calls(MAX_WAITING_CALLS)
        .handshake_timeout(NEVER)
        .keep_alive_interval(NEVER)
        .packet_timeout(NEVER)
        // The driver of this side is trusted, so the flood guard does not apply.
        .max_cancels_per_second(u32::MAX)
        .max_early_pings(u32::MAX)
        .max_idle_packets(u32::MAX)
        // No default applies, so that the timeout of each call is sent.
        .default_timeout(None)
        .build()
        .expect("settings are the defaults, constants in their ranges, or clamped to them");
    match side {
        Side::Connecting => {
            let connection = Connection::connecting(config, Bytes::new(), now);
            connection.expect("no credentials fit into every hello")
        }
        Side::Accepting => Connection::accepting(config, now),
    }
}

/// A call of the other end, with the only message that it has.
pub(super) fn new_call(packet: CustomPacket, deadline: Option<Instant>) -> NewCall {
    NewCall {
        service: packet.service,
        method: packet.method,
        deadline,
        deadline_source: DeadlineSource::Call,
        // The other end does not say whether a handler makes the call, so it may use any of the calls
        // that the driver takes.
        depth: 1,
        metadata: Metadata::new(),
        message: Some(packet.payload.into()),
        end: true,
        one_way: false,
    }
}

/// The end of a call of the driver that has failed.
pub(super) fn end(call: CallId, code: Code, text: impl Into<String>) -> End {
    End {
        call,
        code,
        refused: false,
        metadata: Metadata::new(),
        text: text.into(),
        details: Bytes::new(),
    }
}
