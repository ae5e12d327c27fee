//! The named workloads.

use anyhow::{Context as _, Result};
use harness::Workload;

/// A workload with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) workload: Workload,
    pub(crate) conns: usize,
    pub(crate) inflight: usize,
    pub(crate) size: usize,
}

impl Case {
    /// The case with this name.
    ///
    /// # Errors
    ///
    /// There is no such case.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let found = CASES.iter().find(|case| case.name == name).copied();
        found.with_context(|| {
            let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
            format!("unknown workload `{name}`: all, {}", names.join(", "))
        })
    }

    /// The cases with these names, separated by commas; `all` selects all.
    ///
    /// # Errors
    ///
    /// A name is unknown.
    pub(crate) fn list(names: &str) -> Result<Vec<Self>> {
        if names == "all" {
            return Ok(CASES.to_vec());
        }
        names.split(',').map(Self::named).collect()
    }

    /// A description for a heading.
    pub(crate) fn title(&self) -> String {
        let Self {
            name,
            conns,
            inflight,
            ..
        } = self;
        let size = bytes(self.size);
        match self.workload {
            Workload::Unary => format!("{name}: calls of {size}, {conns} x {inflight} in flight"),
            Workload::OneWay => format!("{name}: one-way messages of {size}, {conns} x {inflight}"),
            Workload::Stream => format!("{name}: stream of {size} items, {conns} x {inflight}"),
            Workload::Idle => format!("{name}: {conns} idle connections, after one call of {size}"),
            _ => name.to_string(),
        }
    }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    case("W1",  Workload::Unary,  1,  1,  32),
    case("W2",  Workload::Unary,  1,  64, 32),
    case("W3",  Workload::Unary,  16, 32, 32),
    case("W4",  Workload::Unary,  16, 32, 1 << 10),
    case("W5a", Workload::Unary,  4,  8,  64 << 10),
    case("W5b", Workload::Unary,  2,  4,  1 << 20),
    case("W6s", Workload::Stream, 1,  1,  32),
    case("W6o", Workload::OneWay, 1,  1,  32),
    case("W7",  Workload::Idle,   1_000, 1, 32),
];

const fn case(
    name: &'static str,
    workload: Workload,
    conns: usize,
    inflight: usize,
    size: usize,
) -> Case {
    Case {
        name,
        workload,
        conns,
        inflight,
        size,
    }
}

fn bytes(size: usize) -> String {
    match size {
        0x10_0000.. => format!("{} MiB", size >> 20),
        0x400.. => format!("{} KiB", size >> 10),
        _ => format!("{size} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::Case;

    #[test]
    fn titles_say_what_is_done() {
        let title = |name| Case::named(name).unwrap().title();
        assert_eq!(title("W4"), "W4: calls of 1 KiB, 16 x 32 in flight");
        assert_eq!(title("W6s"), "W6s: stream of 32 B items, 1 x 1");
        assert_eq!(
            title("W7"),
            "W7: 1000 idle connections, after one call of 32 B"
        );
    }

    #[test]
    fn all_is_all_and_a_list_keeps_its_order() {
        assert_eq!(Case::list("all").unwrap().len(), super::CASES.len());
        let names: Vec<_> = Case::list("W5b,W1")
            .unwrap()
            .iter()
            .map(|case| case.name)
            .collect();
        assert_eq!(names, ["W5b", "W1"]);
        assert!(Case::list("W1,W9").is_err());
    }
}
