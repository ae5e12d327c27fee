//! Where a connection is in its life, from its preface to its close.
//!
//! ```text
//!                   Handshaking                                     Draining, by a drain of
//!  ┌─────────────────────┴────────────────────────┐                 this side, theirs, or both
//!  ExpectPreface ── preface ──► ExpectHello ── hello ──────────────► Open ──────────┘
//!        │                        │  └── hello ──► Undecided ─ accept ─┘  │
//!        └────────────────────────┴── close, loss, fault ──┴──────────────┴──► Closed
//! ```
//!
//! The connecting side has said hello from the beginning, so their hello opens the connection for it. The
//! accepting side owes an answer then, and sends nothing before it but a close. This side may begin to
//! drain at any time before the close, also during the handshake.

use crate::id::Side;

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    side: Side,
    life: Life,
    /// This side takes no new calls.
    drains_here: bool,
    /// The other side takes no new calls.
    drains_there: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Their preface is not here yet.
    ExpectPreface,
    /// Their preface is here, their hello is not.
    ExpectHello,
    /// Their hello is here too, and this side has not answered it.
    Undecided,
    /// The hellos are exchanged, and calls may go both ways.
    Open,
    /// Nothing more is sent or expected.
    Closed,
}

/// A step in the life of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Their preface has come.
    Preface,
    /// Their hello has come.
    Hello,
    /// This side has answered their hello with its own.
    Accept,
    /// This side takes no new calls.
    DrainHere,
    /// The other side takes no new calls.
    DrainThere,
    /// A side has closed the connection, or lost it.
    Close,
}

impl State {
    /// The state of a new connection, seen from this side.
    pub(crate) const fn new(side: Side) -> Self {
        Self::at(side, Life::ExpectPreface)
    }

    const fn at(side: Side, life: Life) -> Self {
        Self {
            side,
            life,
            drains_here: false,
            drains_there: false,
        }
    }

    /// Takes a step. Returns whether it changes anything.
    pub(crate) fn take(&mut self, step: Step) -> bool {
        let before = std::mem::replace(self, self.after(step));
        *self != before
    }

    fn after(mut self, step: Step) -> Self {
        match (self.life, step) {
            (_, Step::Close) => self = Self::at(self.side, Life::Closed),
            (Life::ExpectPreface, Step::Preface) => self.life = Life::ExpectHello,
            (Life::ExpectHello, Step::Hello) => {
                self.life = match self.side {
                    Side::Connecting => Life::Open,
                    Side::Accepting => Life::Undecided,
                }
            }
            (Life::Undecided, Step::Accept) => self.life = Life::Open,
            (Life::Open, Step::DrainThere) => self.drains_there = true,
            (Life::Closed, _) => {}
            (_, Step::DrainHere) => self.drains_here = true,
            _ => {}
        }
        self
    }

    pub(crate) fn side(self) -> Side {
        self.side
    }

    pub(crate) fn expects_preface(self) -> bool {
        self.life == Life::ExpectPreface
    }

    pub(crate) fn expects_hello(self) -> bool {
        self.life == Life::ExpectHello
    }

    /// Whether the hello of the other side is here, and this side has not answered it.
    pub(crate) fn is_undecided(self) -> bool {
        self.life == Life::Undecided
    }

    /// Whether bytes of the other side are read: not once the connection is over, nor before this side has
    /// answered a hello.
    pub(crate) fn takes_input(self) -> bool {
        !matches!(self.life, Life::Undecided | Life::Closed)
    }

    /// Whether this side has said nothing: neither its hello nor a close.
    pub(crate) fn is_silent(self) -> bool {
        self.side == Side::Accepting && !matches!(self.life, Life::Open | Life::Closed)
    }

    /// Whether the hellos are exchanged and the connection is not over.
    pub(crate) fn is_open(self) -> bool {
        self.life == Life::Open
    }

    pub(crate) fn is_closed(self) -> bool {
        self.life == Life::Closed
    }

    /// Whether this side takes no new calls.
    pub(crate) fn is_draining_here(self) -> bool {
        self.drains_here
    }

    /// Whether the other side takes no new calls.
    pub(crate) fn is_draining_there(self) -> bool {
        self.drains_there
    }
}

#[cfg(test)]
mod tests {
    use super::{State, Step};
    use crate::{graph::graph, id::Side};

    fn graph_of(side: Side) -> String {
        let steps = [
            Step::Preface,
            Step::Hello,
            Step::Accept,
            Step::DrainHere,
            Step::DrainThere,
            Step::Close,
        ];
        let name = |state: State| {
            let here = if state.drains_here { "+here" } else { "" };
            let there = if state.drains_there { "+there" } else { "" };
            format!("{:?}{here}{there}", state.life)
        };
        graph(&[State::new(side)], &steps, State::after, name)
    }

    #[test]
    fn the_graph_of_the_connecting_side_is_this() {
        let expected = "\
ExpectPreface --Preface--> ExpectHello
ExpectPreface --DrainHere--> ExpectPreface+here
ExpectPreface --Close--> Closed
ExpectHello --Hello--> Open
ExpectHello --DrainHere--> ExpectHello+here
ExpectHello --Close--> Closed
ExpectPreface+here --Preface--> ExpectHello+here
ExpectPreface+here --Close--> Closed
Open --DrainHere--> Open+here
Open --DrainThere--> Open+there
Open --Close--> Closed
ExpectHello+here --Hello--> Open+here
ExpectHello+here --Close--> Closed
Open+here --DrainThere--> Open+here+there
Open+here --Close--> Closed
Open+there --DrainHere--> Open+here+there
Open+there --Close--> Closed
Open+here+there --Close--> Closed
";
        assert_eq!(graph_of(Side::Connecting), expected);
    }

    #[test]
    fn the_graph_of_the_accepting_side_is_this() {
        let expected = "\
ExpectPreface --Preface--> ExpectHello
ExpectPreface --DrainHere--> ExpectPreface+here
ExpectPreface --Close--> Closed
ExpectHello --Hello--> Undecided
ExpectHello --DrainHere--> ExpectHello+here
ExpectHello --Close--> Closed
ExpectPreface+here --Preface--> ExpectHello+here
ExpectPreface+here --Close--> Closed
Undecided --Accept--> Open
Undecided --DrainHere--> Undecided+here
Undecided --Close--> Closed
ExpectHello+here --Hello--> Undecided+here
ExpectHello+here --Close--> Closed
Open --DrainHere--> Open+here
Open --DrainThere--> Open+there
Open --Close--> Closed
Undecided+here --Accept--> Open+here
Undecided+here --Close--> Closed
Open+here --DrainThere--> Open+here+there
Open+here --Close--> Closed
Open+there --DrainHere--> Open+here+there
Open+there --Close--> Closed
Open+here+there --Close--> Closed
";
        assert_eq!(graph_of(Side::Accepting), expected);
    }
}
