//! Where a call is: how far the received direction has come, and whether this side has ended it.
//!
//! The received direction is the replies for the caller and the requests for the callee. The direction
//! that is sent needs no state here: it is over when its send half is dropped.
//!
//! ```text
//!                    a first message          it is whole
//!  Nothing ────────────────────────► Opening ─────────────► Streaming ──────────► Ended
//!  (caller)                          (callee)                ▲        last message,
//!     └──────────────────────────────────────────────────────┘        or end packet
//!               the reply begins without a message
//!
//!  Live ──► Cancelled    the caller wants no reply; the callee's end is awaited
//!       └─► Ended        the callee has ended it; some of its reply is still to be sent
//! ```
//!
//! A caller removes a call from its table when the callee ends it, so a caller's call never reaches
//! `Ended`.

/// How far the messages of the received direction have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receipt {
    /// The reply has not begun.
    Nothing,
    /// The first message is not whole.
    Opening,
    /// Any number of messages may follow.
    Streaming,
    /// Nothing may follow.
    Ended,
}

/// Whether this side has ended the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Local {
    Live,
    Cancelled,
    Ended,
}

/// Where a call is, seen from one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    receipt: Receipt,
    local: Local,
}

/// A step in the life of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A reply begins with a message, or a part of one.
    Begin,
    /// A reply begins without a message.
    BeginEmpty,
    /// A message comes, or a part of one.
    Message,
    /// A message is whole, and others may follow.
    Whole,
    /// The last message is whole.
    Last,
    /// The direction ends without a message.
    End,
    /// This side cancels its call.
    Cancel,
    /// This side has ended the other side's call: it adds no more messages and no other status.
    EndHere,
}

impl State {
    /// A call that this side starts.
    pub(crate) const STARTED: Self = Self::live(Receipt::Nothing);
    /// A call of the other side that begins with a message, or a part of one.
    pub(crate) const OPENING: Self = Self::live(Receipt::Opening);
    /// A call of the other side that begins without a message.
    pub(crate) const STREAMING: Self = Self::live(Receipt::Streaming);
    /// A call of the other side that came in one packet.
    pub(crate) const WHOLE: Self = Self::live(Receipt::Ended);

    const fn live(receipt: Receipt) -> Self {
        let local = Local::Live;
        Self { receipt, local }
    }

    /// Takes the step that a packet asks for.
    ///
    /// # Errors
    ///
    /// If the packet breaks a rule in this state. The error is the state of the call, in words.
    pub(crate) fn take(&mut self, step: Step) -> Result<(), &'static str> {
        *self = self.after(step)?;
        Ok(())
    }

    /// Takes a step that cannot break a rule: one of this side, or one whose packet was checked
    /// before.
    pub(crate) fn advance(&mut self, step: Step) {
        *self = self.after(step).unwrap_or(*self);
    }

    fn after(self, step: Step) -> Result<Self, &'static str> {
        let receipt = match (self.receipt, step) {
            (_, Step::Cancel) => return Ok(self.with(Local::Cancelled)),
            (_, Step::EndHere) => return Ok(self.with(Local::Ended)),
            (Receipt::Nothing, Step::Begin) => Receipt::Opening,
            (Receipt::Nothing, Step::BeginEmpty) => Receipt::Streaming,
            (_, Step::Begin | Step::BeginEmpty) => return Err("whose reply has begun already"),
            (Receipt::Nothing, _) => return Err("whose reply has not begun"),
            (Receipt::Ended, _) => return Err("whose requests have ended"),
            (receipt, Step::Message) => receipt,
            (_, Step::Whole) => Receipt::Streaming,
            (Receipt::Opening, Step::End) => return Err("whose message is not complete"),
            (_, Step::Last | Step::End) => Receipt::Ended,
        };
        Ok(Self { receipt, ..self })
    }

    fn with(self, local: Local) -> Self {
        Self { local, ..self }
    }

    /// Whether the caller still wants the reply and nothing of it has come.
    #[inline]
    pub(crate) fn is_awaiting(self) -> bool {
        self == Self::STARTED
    }

    /// Whether the received direction has begun.
    pub(crate) fn has_begun(self) -> bool {
        self.receipt != Receipt::Nothing
    }

    /// Whether the driver may be given further messages.
    pub(crate) fn is_streaming(self) -> bool {
        self == Self::STREAMING
    }

    /// Whether nothing more may come.
    pub(crate) fn has_ended(self) -> bool {
        self.receipt == Receipt::Ended
    }

    /// Whether the caller has cancelled the call.
    pub(crate) fn is_cancelled(self) -> bool {
        self.local == Local::Cancelled
    }

    /// Whether the callee has ended the call; some of its reply may still wait to be sent.
    pub(crate) fn is_ended_here(self) -> bool {
        self.local == Local::Ended
    }

    /// Whether the callee's driver knows the call, and has not ended it.
    pub(crate) fn is_served(self) -> bool {
        self.local == Local::Live && self.receipt != Receipt::Opening
    }
}

#[cfg(test)]
mod tests {
    use super::{State, Step};

    fn graph(start: &[State], steps: &[Step]) -> String {
        let after = |state: State, step| state.after(step).unwrap_or(state);
        let name = |state: State| format!("{:?}/{:?}", state.receipt, state.local);
        crate::graph::graph(start, steps, after, name)
    }

    #[test]
    fn the_graph_of_a_caller_is_this() {
        // `Last` and `End` are left out: they remove a caller's call from the table.
        let steps = [Step::Begin, Step::BeginEmpty, Step::Whole, Step::Cancel];
        let expected = "\
Nothing/Live --Begin--> Opening/Live
Nothing/Live --BeginEmpty--> Streaming/Live
Nothing/Live --Cancel--> Nothing/Cancelled
Opening/Live --Whole--> Streaming/Live
Opening/Live --Cancel--> Opening/Cancelled
Streaming/Live --Cancel--> Streaming/Cancelled
Nothing/Cancelled --Begin--> Opening/Cancelled
Nothing/Cancelled --BeginEmpty--> Streaming/Cancelled
Opening/Cancelled --Whole--> Streaming/Cancelled
";
        assert_eq!(graph(&[State::STARTED], &steps), expected);
    }

    #[test]
    fn the_graph_of_a_callee_is_this() {
        let steps = [Step::Whole, Step::Last, Step::End, Step::EndHere];
        let expected = "\
Opening/Live --Whole--> Streaming/Live
Opening/Live --Last--> Ended/Live
Opening/Live --EndHere--> Opening/Ended
Streaming/Live --Last--> Ended/Live
Streaming/Live --End--> Ended/Live
Streaming/Live --EndHere--> Streaming/Ended
Ended/Live --EndHere--> Ended/Ended
Opening/Ended --Whole--> Streaming/Ended
Opening/Ended --Last--> Ended/Ended
Streaming/Ended --Last--> Ended/Ended
Streaming/Ended --End--> Ended/Ended
";
        let start = [State::OPENING, State::STREAMING, State::WHOLE];
        assert_eq!(graph(&start, &steps), expected);
    }

    #[test]
    fn a_step_that_breaks_a_rule_says_what_the_call_is_like() {
        for (state, step, text) in [
            (State::STARTED, Step::Message, "whose reply has not begun"),
            (State::OPENING, Step::Begin, "whose reply has begun already"),
            (State::OPENING, Step::End, "whose message is not complete"),
            (State::WHOLE, Step::Message, "whose requests have ended"),
        ] {
            assert_eq!(state.after(step), Err(text));
        }
    }
}
