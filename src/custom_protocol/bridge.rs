//! Plays the peer towards a driver: packets of a codec on one side, wawo's protocol on the other.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::io::ReadBuf;
use wawo_protocol::{
    CallId, CallOutcome, Code, Config, Connection, ConnectionError, DeadlineSource, Event,
    InboundCall, MAX_LIMIT, MIN_MESSAGE_BYTES, Metadata, MethodId, NewCall, Refusal, ServiceId,
    Side, StartedCall, packet::End, time::after,
};

use crate::custom_protocol::{
    call_numbers::{CallNumbers, NumberedCall},
    fault::ProtocolFault,
    packet::{CustomPacket, PacketKind},
};

/// The end of a native connection that the other end would have, did it speak wawo. It keeps all
/// limits for it, and does no I/O.
///
/// Calls that come are *incoming*, calls of the driver *outgoing*, as in the driver itself; for
/// `connection`, which is the other end, it is the other way around.
#[derive(Debug)]
pub(crate) struct Bridge {
    /// The token of a call is its number.
    connection: Connection<u32>,
    /// What the driver wrote and the connection has not read: at most the start of a packet,
    /// unless packets for the transport wait.
    input: BytesMut,
    /// How many calls the driver takes at a time; `None` before its hello.
    max_calls: Option<usize>,
    incoming: HashMap<u32, CodecCall>,
    pub(crate) call_numbers: CallNumbers,
    /// Time for each incoming call.
    pub(crate) call_timeout: Option<Duration>,
}

/// A call of the other end that waits for its answer.
#[derive(Debug)]
struct CodecCall {
    /// `None` while it waits for a place among the calls that the driver takes.
    id: Option<CallId>,
    service: ServiceId,
    method: MethodId,
}

/// Time for an incoming call, unless it is set.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The bridge and its driver are one task: neither can be silent or away.
const NEVER: Duration = Duration::MAX;

/// With more for the driver to read, nothing more is taken from the other end.
const FULL_OUTPUT_BYTES: usize = 256 * 1024;

/// With half of so many calls waiting for the limits of the driver, nothing more is taken from
/// the other end.
const MAX_WAITING_CALLS: usize = 1024;

impl Bridge {
    /// A bridge to a driver on the other side of `side`.
    pub(crate) fn new(side: Side, now: Instant, max_message_bytes: usize) -> Self {
        Self {
            connection: connection(side, now, max_message_bytes),
            input: BytesMut::new(),
            max_calls: None,
            incoming: HashMap::new(),
            call_numbers: CallNumbers::default(),
            call_timeout: Some(CALL_TIMEOUT),
        }
    }

    /// Sets the longest message that the driver may send. Before anything else.
    pub(crate) fn announce(&mut self, side: Side, now: Instant, max_message_bytes: usize) {
        self.connection = connection(side, now, max_message_bytes);
    }

    /// Takes what the driver says.
    pub(crate) fn write_input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Gives the driver what there is for it; `false` if that is nothing.
    pub(crate) fn read_output(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        self.connection.fill_output();
        let output = self.connection.output();
        let before = buf.remaining();
        while !output.is_empty() && buf.remaining() > 0 {
            let length = output.first().len().min(buf.remaining());
            buf.put_slice(&output.first()[..length]);
            output.advance(length);
        }
        buf.remaining() < before
    }

    /// Whether a packet of the other end may be handled now.
    pub(crate) fn has_room(&mut self) -> bool {
        self.connection.fill_output();
        self.max_calls.is_some()
            && !self.is_closed()
            && !self.connection.is_congested()
            && self.connection.output().len() < FULL_OUTPUT_BYTES
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Ends the connection, and tells the driver why.
    pub(crate) fn close(&mut self, fault: &ProtocolFault) {
        self.connection
            .close(fault.close_code(), &fault.to_string());
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        // An error is in the close packet that the driver reads.
        let _ = self.connection.handle_timeout(now);
    }

    /// Handles a packet of the other end; returns the answer if it is refused.
    pub(crate) fn handle_packet(
        &mut self,
        now: Instant,
        packet: CustomPacket,
    ) -> Result<Option<CustomPacket>, ProtocolFault> {
        let call = packet.call;
        match packet.kind {
            PacketKind::Request => self.start_call(now, packet),
            PacketKind::OneWay => self.send_one_way(now, packet).map(|()| None),
            PacketKind::Reply => {
                if let Some(id) = self.take_call("reply", call)? {
                    self.connection.reply(id, Metadata::new(), packet.payload);
                }
                Ok(None)
            }
            PacketKind::Failure { code: Code::Ok, .. } => Err(ProtocolFault::FailureOk(call)),
            PacketKind::Failure { code, text } => {
                if let Some(id) = self.take_call("failure", call)? {
                    self.connection.end(end(id, code, text));
                }
                Ok(None)
            }
            PacketKind::Cancel => {
                self.cancel(call);
                Ok(None)
            }
        }
    }

    fn start_call(
        &mut self,
        now: Instant,
        packet: CustomPacket,
    ) -> Result<Option<CustomPacket>, ProtocolFault> {
        let (in_flight, number) = (self.incoming.len(), packet.call);
        let Entry::Vacant(entry) = self.incoming.entry(number) else {
            return Err(ProtocolFault::CallInFlight(number));
        };
        let max = self.max_calls.unwrap_or(0);
        if in_flight >= max {
            let text =
                format!("{in_flight} calls are in flight; the callee takes {max} (max_calls)");
            let refused = CustomPacket::failure(number, Code::ResourceExhausted, text);
            return Ok(Some(CustomPacket {
                service: packet.service,
                method: packet.method,
                ..refused
            }));
        }
        let call = entry.insert(CodecCall {
            id: None,
            service: packet.service,
            method: packet.method,
        });
        let deadline = self.call_timeout.map(|timeout| after(now, timeout));
        let new_call = new_call(packet, deadline);
        match self.connection.start_call(now, new_call, number) {
            Ok(StartedCall::Sent(id)) => call.id = Some(id),
            Ok(StartedCall::Waiting) => {}
            Err((number, reason)) => return Ok(self.refused(number, &reason)),
        }
        Ok(None)
    }

    fn send_one_way(&mut self, now: Instant, packet: CustomPacket) -> Result<(), ProtocolFault> {
        let call = NewCall {
            one_way: true,
            ..new_call(packet, None)
        };
        match self.connection.send_one_way(now, call) {
            Err(Refusal::MessageTooLarge { length, max }) => {
                Err(ProtocolFault::OneWayTooLarge { length, max })
            }
            // Else the connection takes no more calls; nobody waits for the outcome of this one.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The call of the driver that an answer is for. `None` if it was given up: the answer had
    /// left by then, or the protocol has no cancel.
    fn take_call(
        &mut self,
        kind: &'static str,
        call: u32,
    ) -> Result<Option<CallId>, ProtocolFault> {
        match self.call_numbers.end(call) {
            Some(outgoing) => Ok(Some(outgoing.id)),
            None if self.call_numbers.was_used(call) => Ok(None),
            None => Err(ProtocolFault::UnknownCall { kind, call }),
        }
    }

    /// The other end gives up its call. If it is over, the cancel has crossed its answer.
    fn cancel(&mut self, number: u32) {
        match self.incoming.remove(&number) {
            Some(CodecCall { id: Some(id), .. }) => {
                self.connection.cancel(id);
            }
            Some(CodecCall { id: None, .. }) => {
                self.connection.cancel_waiting(|call| *call == number)
            }
            None => {}
        }
    }

    /// The next packet for the other end.
    ///
    /// # Errors
    ///
    /// When the driver has ended the connection, or has broken the protocol.
    pub(crate) fn poll_packet(
        &mut self,
        now: Instant,
    ) -> Result<Option<CustomPacket>, ConnectionError> {
        while let Some(event) = self.connection.poll_event(now, &mut self.input)? {
            if let Some(packet) = self.handle_event(event) {
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }

    fn handle_event(&mut self, event: Event<u32>) -> Option<CustomPacket> {
        match event {
            Event::Opened(hello) => {
                self.max_calls = Some(hello.limits.max_calls as usize);
                None
            }
            Event::Called(called) => self.called(called),
            Event::Cancelled(id) | Event::Expired(id) => {
                let (number, call) = self.call_numbers.cancel(id)?;
                Some(CustomPacket {
                    service: call.service,
                    method: call.method,
                    ..CustomPacket::cancel(number)
                })
            }
            Event::Started(id) => {
                let number = self.connection.token(id)?;
                self.incoming.get_mut(number)?.id = Some(id);
                None
            }
            Event::Replied { call, .. } => {
                let number = self.connection.cancel(call)?;
                self.fail(number, Code::Unimplemented, NO_STREAMS)
            }
            Event::Ended(ended) => self.ended(ended),
            Event::Refused(number, reason) => self.refused(number, &reason),
            // What else there is belongs to streams, or needs nothing to be done.
            _ => None,
        }
    }

    /// The driver calls.
    fn called(&mut self, called: InboundCall) -> Option<CustomPacket> {
        let (service, method) = (called.service, called.method);
        let (id, payload) = match (called.call, called.message) {
            (None, message) => {
                // How much of what is said may wait for the transport is limited there.
                self.connection.one_way_served(called.cost);
                let payload = message.unwrap_or_default();
                return Some(CustomPacket::one_way(service, method, payload));
            }
            (Some(id), Some(payload)) if called.end => (id, payload),
            (Some(id), _) => {
                self.connection
                    .end(end(id, Code::Unimplemented, NO_STREAMS));
                return None;
            }
        };
        let call = NumberedCall {
            id,
            service,
            method,
        };
        let Some(number) = self.call_numbers.begin(call) else {
            let text = "all call numbers are in flight (CustomProtocol::max_call_number)";
            let end = end(id, Code::ResourceExhausted, text);
            self.connection.end(End {
                refused: true,
                ..end
            });
            return None;
        };
        Some(CustomPacket::request(service, method, number, payload))
    }

    /// The driver has answered.
    fn ended(&mut self, ended: CallOutcome<u32>) -> Option<CustomPacket> {
        let number = ended.token;
        match (ended.code, ended.message) {
            (Code::Ok, Some(payload)) => {
                let call = self.incoming.remove(&number)?;
                Some(CustomPacket {
                    service: call.service,
                    method: call.method,
                    ..CustomPacket::reply(number, payload)
                })
            }
            (Code::Ok, None) => self.fail(number, Code::Unimplemented, NO_STREAMS),
            (code, _) => self.fail(number, code, ended.text),
        }
    }

    fn refused(&mut self, number: u32, reason: &Refusal) -> Option<CustomPacket> {
        let code = match reason {
            Refusal::Closed | Refusal::Draining => Code::Unavailable,
            _ => Code::ResourceExhausted,
        };
        self.fail(number, code, format!("the call was not served: {reason}"))
    }

    fn fail(&mut self, number: u32, code: Code, text: impl Into<String>) -> Option<CustomPacket> {
        let call = self.incoming.remove(&number)?;
        Some(CustomPacket {
            service: call.service,
            method: call.method,
            ..CustomPacket::failure(number, code, text)
        })
    }

    /// Says nothing more to the driver.
    pub(crate) fn lose(&mut self) {
        self.connection.lose();
    }
}

/// Why a stream ends at once.
const NO_STREAMS: &str = "the method has a stream, which the protocol of this connection cannot \
                          carry; call it over wawo's own protocol, or split it into calls";

fn connection(side: Side, now: Instant, max_message_bytes: usize) -> Connection<u32> {
    let defaults = Config::default();
    let most = u32::try_from(max_message_bytes).unwrap_or(MAX_LIMIT);
    let message = most.clamp(MIN_MESSAGE_BYTES, MAX_LIMIT);
    // The longest message of the driver has room with all that a call may carry besides.
    let longest = message + defaults.limits().max_metadata_bytes;
    let config = Config::builder()
        .max_message_bytes(message)
        .max_opening_bytes(defaults.max_opening_bytes().max(longest as usize))
        .max_waiting_calls(MAX_WAITING_CALLS)
        .handshake_timeout(NEVER)
        .keep_alive_interval(NEVER)
        .packet_timeout(NEVER)
        // The driver of this side is trusted.
        .max_cancels_per_second(u32::MAX)
        .max_early_pings(u32::MAX)
        .max_idle_packets(u32::MAX)
        // So that each call says its own.
        .default_timeout(None)
        .build()
        .expect("settings are the defaults, constants in their ranges, or clamped to them");
    Connection::new(side, config, now)
}

fn new_call(packet: CustomPacket, deadline: Option<Instant>) -> NewCall {
    NewCall {
        service: packet.service,
        method: packet.method,
        deadline,
        deadline_source: DeadlineSource::Call,
        // The other end does not tell whether a handler makes the call: it may have any slot.
        depth: 1,
        metadata: Metadata::new(),
        message: Some(packet.payload.into()),
        end: true,
        one_way: false,
    }
}

fn end(call: CallId, code: Code, text: impl Into<String>) -> End {
    End {
        call,
        code,
        refused: false,
        metadata: Metadata::new(),
        text: text.into(),
        details: Bytes::new(),
    }
}
