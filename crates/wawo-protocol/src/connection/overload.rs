//! Calls of the other side that meet a limit of this side: they are refused, or end, and the driver learns
//! of it for its log and its metrics.

use crate::{
    code::Code,
    connection::{
        calls::Entry,
        event::{Event, InboundCall},
        load::Share,
        machine::Connection,
        refusal::Overload,
    },
    id::{CallId, MethodId, ServiceId},
    packet::End,
};

impl<T> Connection<T> {
    /// Counts the bytes that a call begins with against the limit; they are held until the call is over.
    pub(super) fn admit_opening(
        &mut self,
        called: &InboundCall,
        length: usize,
    ) -> Result<Share, Overload> {
        let max = self.config.limits().max_message_bytes as usize;
        // One-way messages have paid with credit, and a message over the limit is refused elsewhere for
        // its length.
        if called.call.is_none() || length > max {
            return Ok(Share::default());
        }
        let bytes = (length + called.metadata.block_bytes()) as u64;
        self.load.add_call(bytes, &self.config)
    }

    /// Counts a call as a stream. If that is one more than the limit, ends the call with a status and
    /// returns `false`. `called` is the call if the driver has not got it.
    pub(super) fn admit_stream(&mut self, id: CallId, called: Option<&InboundCall>) -> bool {
        let Some(Entry { call, role }) = self.calls.theirs.get_mut(id) else {
            return false;
        };
        match self.load.add_stream(&mut role.share, &self.config) {
            Ok(false) => {}
            Ok(true) => {
                let timeouts = &self.their_timeouts;
                call.deadline = timeouts.stream_deadline(call, role.timeout_ms, &self.config);
                let deadline = call.deadline;
                self.watch_deadline(deadline);
            }
            Err(overload) => {
                // A call whose requests are a stream has not been served yet; one whose reply is a
                // stream has.
                let refused = !call.state.has_ended();
                self.end_overloaded(id, called, overload, refused);
                return false;
            }
        }
        true
    }

    /// Ends a call for a limit, and says so to the driver. `called` is the call if the driver has not got it.
    #[cold]
    pub(super) fn end_overloaded(
        &mut self,
        id: CallId,
        called: Option<&InboundCall>,
        overload: Overload,
        refused: bool,
    ) {
        let end = Self::end_packet(id, Code::ResourceExhausted, overload.to_string());
        self.end(End { refused, ..end });
        self.report_overload(called.map(method_of), overload);
    }

    fn report_overload(&mut self, method: Option<(ServiceId, MethodId)>, overload: Overload) {
        // After its end, a connection has no events.
        if !self.is_closed() {
            let event = Event::Overloaded { method, overload };
            self.events.push_back(event);
        }
    }

    /// Ends a call of theirs because a request is over our limit. The driver gets an event if it serves
    /// the call.
    pub(super) fn refuse_request(&mut self, id: CallId, length: usize) -> Option<Event<T>> {
        let max = self.config.limits().max_message_bytes;
        let overload = Overload::RequestTooLarge { length, max };
        let opening = self.calls.theirs.get(id);
        let opening = opening.and_then(|theirs| theirs.role.opening.as_deref());
        let (method, is_served) = (opening.map(method_of), self.is_served(id));
        let (code, text) = (Code::ResourceExhausted, overload.to_string());
        self.end_now(Self::end_packet(id, code, text));
        self.report_overload(method, overload);
        is_served.then_some(Event::Stopped(id, code))
    }
}

fn method_of(called: &InboundCall) -> (ServiceId, MethodId) {
    (called.service, called.method)
}
