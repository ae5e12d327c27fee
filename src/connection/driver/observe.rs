//! Observes the calls of the other side, where somebody wants it.

use wawo_protocol::{Code, MessageBytes, Overload, Refusal};

use crate::{
    body::Body, call_side::CallSide, connection::driver::Driver, descriptor::MethodIds,
    observe::CallOutcome, request::Request,
};

impl Driver {
    /// The calls that were read are served, as far as they did not have to wait.
    #[cold]
    #[inline(never)]
    pub(super) fn observe_end_of_batch(&mut self) {
        if let Some(observation) = &mut self.observation {
            observation.end_in_place(&CallOutcome::OK);
        }
    }

    /// Counts a call of this side that was not made.
    #[cold]
    pub(super) fn observe_refusal(&self, refusal: &Refusal) {
        if let Some(observation) = &self.observation {
            observation.refused(CallSide::Client, refusal.reason());
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
            let mut request = Request::by_id(service, method, false, body);
            observation.begin(None, &mut request);
            let (code, text) = (Code::ResourceExhausted, overload.to_string());
            observation.end_in_place(&CallOutcome::of_code(code, &text));
        }
    }
}
