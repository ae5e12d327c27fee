//! Observes the calls of the other side, where somebody wants it.

use std::{task::Context, time::Instant};

use wawo_protocol::{CallId, Code, MessageBytes, Overload, Refusal};

use crate::{
    body::Body, call_side::CallSide, connection::driver::Driver, descriptor::MethodIds,
    observe::CallOutcome, request::Request, serve::inbound::FirstPoll,
};

impl Driver {
    /// Calls that were read at this time are about to be served.
    pub(super) fn observe_batch(&mut self, now: Instant) {
        if let Some(observation) = &mut self.observation {
            observation.begin_batch(now);
        }
    }

    /// Counts a call of this side that was not made.
    #[cold]
    pub(super) fn observe_refusal(&self, reason: &Refusal) {
        if let Some(observation) = &self.observation {
            observation.refused(CallSide::Client, reason.reason());
        }
    }

    /// Records a call of the other side that a limit has refused before it was served, or ended.
    #[cold]
    pub(super) fn observe_overload(&mut self, method: Option<MethodIds>, overload: &Overload) {
        let Some(observation) = &mut self.observation else {
            return;
        };
        observation.refused(CallSide::Server, overload.reason());
        if let Some(MethodIds { service, method }) = method {
            let body = Body::One(MessageBytes::default());
            let request = Request::by_id(service, method, false, body);
            observation.begin(&self.handle, &request);
            let (code, text) = (Code::ResourceExhausted, overload.to_string());
            observation.end_one_way(&CallOutcome::of_code(code, &text));
        }
    }

    /// Serves a call up to the point where it has to wait, and records it. `first` is the length of the
    /// message that came with the call.
    pub(super) fn serve_observed(
        &mut self,
        cx: &mut Context<'_>,
        call: Option<CallId>,
        request: Request,
        first: Option<usize>,
    ) -> FirstPoll {
        let Some(observation) = &mut self.observation else {
            return self.inbound.serve(cx, request);
        };
        observation.begin(&self.handle, &request);
        if let (Body::Many(_), Some(call), Some(bytes)) = (request.body(), call, first) {
            observation.add_requests(call, 1, bytes);
        }
        let span = observation.span();
        let polled = match &span {
            None => self.inbound.serve(cx, request),
            Some(span) => span
                .in_scope(|| self.inbound.serve(cx, request))
                .in_span(span),
        };
        match (call, polled) {
            (Some(call), FirstPoll::Waits(reply)) => {
                observation.keep(call);
                FirstPoll::Waits(reply)
            }
            (None, FirstPoll::Ended(result)) => {
                observation.end_one_way(&CallOutcome::of(&result));
                FirstPoll::Ended(result)
            }
            (_, polled) => polled,
        }
    }
}
