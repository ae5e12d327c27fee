//! The series of calls: one for each side, protocol and method.

use std::collections::HashMap;

use crate::call_side::CallSide;

/// The number of a series. It belongs to the [`Metrics`](crate::Metrics) that made it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Series(pub(super) u32);

/// The labels of a series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SeriesKey {
    pub(super) side: CallSide,
    pub(super) protocol: &'static str,
    /// The path of the method; `None` if the method is unknown here.
    pub(super) method: Option<Box<str>>,
}

/// The keys of the series, by number and by key.
#[derive(Debug, Default)]
pub(super) struct SeriesTable {
    keys: Vec<SeriesKey>,
    numbers: HashMap<SeriesKey, u32>,
}

/// At most this many series have a method. The calls of methods beyond count as those of unknown ones.
pub(super) const MAX_METHODS: usize = 10_000;

impl SeriesTable {
    pub(super) fn find_or_add(
        &mut self,
        side: CallSide,
        protocol: &'static str,
        method: Option<&str>,
    ) -> Series {
        let method = method.map(Into::into);
        let mut key = SeriesKey {
            side,
            protocol,
            method,
        };
        if let Some(number) = self.numbers.get(&key) {
            return Series(*number);
        }
        if self.keys.len() >= MAX_METHODS && key.method.take().is_some() {
            return self.find_or_add(side, protocol, None);
        }
        let number = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.keys.push(key.clone());
        self.numbers.insert(key, number);
        Series(number)
    }

    pub(super) fn keys(&self) -> &[SeriesKey] {
        &self.keys
    }
}
