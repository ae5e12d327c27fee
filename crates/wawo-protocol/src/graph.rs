//! Writes the graph of a state machine as text, for the tests that compare it.

use std::fmt::{Debug, Write as _};

/// Every step out of every state that can be reached from `start`, one a line. Steps that change
/// nothing are left out.
pub(crate) fn graph<S: Copy + PartialEq, T: Copy + Debug>(
    start: &[S],
    steps: &[T],
    after: impl Fn(S, T) -> S,
    name: impl Fn(S) -> String,
) -> String {
    let (mut states, mut graph, mut next) = (start.to_vec(), String::new(), 0);
    while let Some(&state) = states.get(next) {
        next += 1;
        for &step in steps {
            let after = after(state, step);
            if !states.contains(&after) {
                states.push(after);
            }
            if after != state {
                let _ = writeln!(graph, "{} --{step:?}--> {}", name(state), name(after));
            }
        }
    }
    graph
}
