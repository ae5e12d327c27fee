//! The named workloads.

use anyhow::{Context as _, Result};
use harness::Workload;

/// A workload with its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) workload: Workload,
    pub(crate) conns: usize,
    pub(crate) inflight: usize,
    pub(crate) size: usize,
}

impl Case {
    /// The case of that name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let found = CASES.iter().find(|case| case.name == name).copied();
        found.with_context(|| {
            let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
            format!("unknown workload `{name}`: {}", names.join(", "))
        })
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
