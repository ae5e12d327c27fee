//! The bridge between a driver, which speaks wawo's protocol, and the packets of a codec.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::io::ReadBuf;
use wawo_protocol::{
    CallId, CallOutcome, Code, Connection, ConnectionError, Event, InboundCall, Metadata, MethodId,
    NewCall, Refusal, ServiceId, Side, StartedCall, packet::End, time::after,
};

use crate::custom_protocol::{
    call_numbers::{CallNumbers, NumberedCall},
    far_end::{connection, end, new_call},
    fault::ProtocolFault,
    packet::{CustomPacket, PacketKind},
};

/// The far end of a native connection, which stands in for another end that does not speak wawo. It keeps
/// all limits for that end, and does no I/O.
///
/// Calls of the other end are *incoming*, calls of the driver *outgoing*, as in the driver itself. For
/// `connection`, which plays the other end, it is the other way around.
#[derive(Debug)]
pub(crate) struct Bridge {
    /// The connection; the token of a call is its number.
    connection: Connection<u32>,
    /// Bytes that the driver wrote and the connection has not read: at most the start of a packet, unless
    /// packets for the transport wait.
    input: BytesMut,
    /// How many calls the driver takes at a time; `None` before its hello.
    max_calls: Option<usize>,
    incoming: HashMap<u32, CodecCall>,
    pub(crate) call_numbers: CallNumbers,
    /// The timeout of each incoming call.
    pub(crate) call_timeout: Option<Duration>,
}

/// A call of the other end that waits for its reply.
#[derive(Debug)]
struct CodecCall {
    /// The id; `None` while it waits because the driver takes no more calls.
    id: Option<CallId>,
    service: ServiceId,
    method: MethodId,
}

/// The default timeout of incoming calls.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// While the driver has more bytes than this to read, nothing is taken from the other end.
const FULL_OUTPUT_BYTES: usize = 256 * 1024;

impl Bridge {
    /// Creates a bridge to a driver, as the end with this side.
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

    /// Sets the longest message that the driver may send. It has to be called before anything else.
    pub(crate) fn announce(&mut self, side: Side, now: Instant, max_message_bytes: usize) {
        self.connection = connection(side, now, max_message_bytes);
    }

    /// Takes bytes that the driver wrote.
    pub(crate) fn write_input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Gives the driver bytes to read; returns `false` if there are none.
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

    /// Ends the connection, and sends the driver the reason.
    pub(crate) fn close(&mut self, fault: &ProtocolFault) {
        self.connection
            .close(fault.close_code(), &fault.to_string());
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        // The error is in the close packet that the driver reads.
        let _ = self.connection.handle_timeout(now);
    }

    /// Handles a packet of the other end. If the call is refused, it returns the failure to send.
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
            // Otherwise the connection takes no more calls; the sender of a one-way message does not wait
            // for its outcome.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The call of the driver that a reply is for. `None` if it was cancelled: the reply had left before,
    /// or the protocol has no cancel.
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

    /// Acts on a cancel of the other end. If the call is over, the cancel has crossed its reply.
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
            if let Some(packet) = self.handle_event(now, event) {
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }

    fn handle_event(&mut self, now: Instant, event: Event<u32>) -> Option<CustomPacket> {
        match event {
            Event::Opened(hello) => {
                self.max_calls = Some(hello.limits.max_calls as usize);
                let accepted = self.connection.accept(now, Bytes::new());
                accepted.expect("no credentials fit into every hello");
                None
            }
            Event::Called(called) => self.called(called),
            Event::Cancelled(id) | Event::Stopped(id, _) => {
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
            // Other events belong to streams, or need no action.
            _ => None,
        }
    }

    /// Handles a call of the driver.
    fn called(&mut self, called: InboundCall) -> Option<CustomPacket> {
        let (service, method) = (called.service, called.method);
        let (id, payload) = match (called.call, called.message) {
            (None, message) => {
                // `CustomProtocol` limits how much waits for the transport, so the credit is returned at
                // once.
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

    /// Handles the end of a call that the driver has served.
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

    /// Sends nothing more to the driver.
    pub(crate) fn lose(&mut self) {
        self.connection.lose();
    }
}

/// The text of the status of a call with a stream.
const NO_STREAMS: &str = "the method has a stream, which the protocol of this connection cannot \
                          carry; call it over wawo's own protocol, or split it into calls";
