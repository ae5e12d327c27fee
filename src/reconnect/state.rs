//! Where a peer that reconnects is, from its first try to its close.
//!
//! ```text
//!            dial              up               leave             dial
//!  Idle ───────────► Dialling ────► Connected ────────► Leaving ────────► Switching
//!                     ▲    │           │  ▲              │    ▲             │  │  │
//!                dial │    │ fail      │  │         lose │    └──── fail ───┘  │  │
//!                     │    ▼           │  └──────────────┼───────── up ────────┘  │
//!                    Waiting ◄── lose ─┘                 │                        │
//!                     ▲   └──────────────────────────────┘                        │
//!                     │                             Dialling ◄───────── lose ─────┘
//! ```
//!
//! In `Connected`, `Leaving` and `Switching` there is a connection. In `Leaving` and `Switching` it is to be
//! replaced by another, for which the peer waits, or dials. From every state, `close` leads to `Over`.

/// Where a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Before the first try.
    Idle,
    /// There is no connection, and a try is under way.
    Dialling,
    /// There is no connection, and the time of the next try has not come.
    Waiting,
    Connected,
    /// There is a connection, and the time to dial another in its place has not come.
    Leaving,
    /// There is a connection, and a try for another in its place is under way.
    Switching,
    /// The peer is closed for good.
    Over,
}

/// A step of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A try begins.
    Dial,
    /// The try has made a connection, whose handshake is through.
    Up,
    /// The try has failed.
    Fail,
    /// The connection is over.
    Lose,
    /// The connection is to be replaced.
    Leave,
    /// The peer is closed for good.
    Close,
}

impl State {
    pub(crate) fn after(self, step: Step) -> Self {
        match (self, step) {
            (Self::Over, _) | (_, Step::Close) => Self::Over,
            (Self::Idle | Self::Waiting, Step::Dial) | (Self::Switching, Step::Lose) => {
                Self::Dialling
            }
            (Self::Leaving, Step::Dial) => Self::Switching,
            (Self::Dialling | Self::Switching, Step::Up) => Self::Connected,
            (Self::Dialling, Step::Fail) | (Self::Connected | Self::Leaving, Step::Lose) => {
                Self::Waiting
            }
            (Self::Switching, Step::Fail) | (Self::Connected, Step::Leave) => Self::Leaving,
            (same, _) => same,
        }
    }

    /// Whether a try is under way.
    pub(crate) fn is_dialling(self) -> bool {
        matches!(self, Self::Dialling | Self::Switching)
    }

    /// Whether there is a connection.
    pub(crate) fn is_connected(self) -> bool {
        matches!(self, Self::Connected | Self::Leaving | Self::Switching)
    }
}

#[cfg(test)]
mod tests {
    use super::{State, Step};

    const STEPS: [Step; 6] = [
        Step::Dial,
        Step::Up,
        Step::Fail,
        Step::Lose,
        Step::Leave,
        Step::Close,
    ];

    /// Every step out of every state that can be reached. Steps that change nothing are left out.
    fn graph() -> String {
        let (mut states, mut graph, mut next) = (vec![State::Idle], String::new(), 0);
        while let Some(&state) = states.get(next) {
            next += 1;
            for step in STEPS {
                let after = state.after(step);
                if !states.contains(&after) {
                    states.push(after);
                }
                if after != state {
                    graph += &format!("{state:?} --{step:?}--> {after:?}\n");
                }
            }
        }
        graph
    }

    #[test]
    fn the_graph_of_a_peer_that_reconnects_is_this() {
        let expected = "\
Idle --Dial--> Dialling
Idle --Close--> Over
Dialling --Up--> Connected
Dialling --Fail--> Waiting
Dialling --Close--> Over
Connected --Lose--> Waiting
Connected --Leave--> Leaving
Connected --Close--> Over
Waiting --Dial--> Dialling
Waiting --Close--> Over
Leaving --Dial--> Switching
Leaving --Lose--> Waiting
Leaving --Close--> Over
Switching --Up--> Connected
Switching --Fail--> Leaving
Switching --Lose--> Dialling
Switching --Close--> Over
";
        assert_eq!(graph(), expected);
    }

    #[test]
    fn there_is_a_connection_from_up_to_lose_and_a_try_from_dial_to_its_end() {
        use State::{Connected, Dialling, Idle, Leaving, Over, Switching, Waiting};
        for (state, is_connected, is_dialling) in [
            (Idle, false, false),
            (Dialling, false, true),
            (Waiting, false, false),
            (Connected, true, false),
            (Leaving, true, false),
            (Switching, true, true),
            (Over, false, false),
        ] {
            assert_eq!(state.is_connected(), is_connected, "{state:?}");
            assert_eq!(state.is_dialling(), is_dialling, "{state:?}");
        }
    }
}
