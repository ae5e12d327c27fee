//! The series of calls: one for each side, protocol and method.

use std::collections::HashMap;

use crate::call_side::CallSide;

/// The series that have a method are at most this many. The calls of methods beyond count as those of
/// unknown ones, so that a program that makes methods at run time cannot fill the memory.
pub(super) const MAX_METHODS: usize = 10_000;

/// Unknown methods have one series for each side and protocol, at most this many.
const MAX_UNKNOWN: usize = 100;

/// The label of methods and protocols that are not known, or too many.
pub(super) const OTHER: &str = "_OTHER";

/// The number of a series of one [`Metrics`](crate::Metrics).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Series(pub(super) u32);

/// The labels of a series.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SeriesKey {
    pub(super) side: CallSide,
    pub(super) protocol: &'static str,
    /// The path of the method; `None` if it is not known here.
    pub(super) method: Option<Box<str>>,
}

/// All series, by their numbers and by their keys.
#[derive(Debug)]
pub(super) struct SeriesTable {
    keys: Vec<SeriesKey>,
    numbers: HashMap<SeriesKey, u32>,
    methods: usize,
}

impl Default for SeriesTable {
    /// The table with the series of the calls that find no room for one of their own.
    fn default() -> Self {
        let mut table = Self {
            keys: Vec::new(),
            numbers: HashMap::new(),
            methods: 0,
        };
        for side in [CallSide::Client, CallSide::Server] {
            table.add(SeriesKey {
                side,
                protocol: OTHER,
                method: None,
            });
        }
        table
    }
}

impl SeriesTable {
    /// The series with this key. A new one is added, if there is room; if not, it is the series of unknown
    /// methods.
    pub(super) fn series(
        &mut self,
        side: CallSide,
        protocol: &'static str,
        method: Option<&str>,
    ) -> Series {
        let unknown = SeriesKey {
            side,
            protocol,
            method: None,
        };
        let key = SeriesKey {
            method: method.map(Into::into),
            ..unknown
        };
        let found = self.find_or_add(key);
        let found = found.or_else(|| self.find_or_add(unknown));
        found.unwrap_or(Series(side as u32))
    }

    /// The labels of the series, in the order of their numbers.
    pub(super) fn keys(&self) -> &[SeriesKey] {
        &self.keys
    }

    fn find_or_add(&mut self, key: SeriesKey) -> Option<Series> {
        if let Some(number) = self.numbers.get(&key) {
            return Some(Series(*number));
        }
        let has_room = match key.method {
            Some(_) => self.methods < MAX_METHODS,
            None => self.keys.len() - self.methods < MAX_UNKNOWN,
        };
        has_room.then(|| self.add(key))
    }

    fn add(&mut self, key: SeriesKey) -> Series {
        let number = self.keys.len() as u32;
        self.methods += usize::from(key.method.is_some());
        self.keys.push(key.clone());
        self.numbers.insert(key, number);
        Series(number)
    }
}

#[cfg(test)]
mod tests {
    use super::{CallSide, MAX_METHODS, MAX_UNKNOWN, SeriesTable};

    #[test]
    fn a_series_is_found_again() {
        let mut table = SeriesTable::default();
        let first = table.series(CallSide::Server, "wawo", Some("a.B/C"));
        let others = [
            table.series(CallSide::Client, "wawo", Some("a.B/C")),
            table.series(CallSide::Server, "grpc", Some("a.B/C")),
            table.series(CallSide::Server, "wawo", Some("a.B/D")),
            table.series(CallSide::Server, "wawo", None),
        ];
        assert!(!others.contains(&first));
        assert_eq!(table.series(CallSide::Server, "wawo", Some("a.B/C")), first);
    }

    #[test]
    fn a_method_beyond_the_limit_counts_as_an_unknown_one() {
        let mut table = SeriesTable::default();
        let mut add = |number: usize| {
            let path = format!("a.B/{number}");
            table.series(CallSide::Server, "wawo", Some(&path))
        };
        let mut last = add(0);
        for number in 1..MAX_METHODS {
            let next = add(number);
            assert_ne!(next, last);
            last = next;
        }
        let beyond = add(MAX_METHODS);
        assert_eq!(beyond, add(MAX_METHODS + 1));
        assert_eq!(last, add(MAX_METHODS - 1));
        assert_eq!(beyond, table.series(CallSide::Server, "wawo", None));
        let keys = table.keys();
        assert_eq!(keys[beyond.0 as usize].protocol, "wawo");
        assert_eq!(
            keys.iter().filter(|key| key.method.is_some()).count(),
            MAX_METHODS
        );
    }

    #[test]
    fn protocols_are_bounded_too() {
        let mut table = SeriesTable::default();
        for number in 0..2 * MAX_UNKNOWN {
            let protocol = Box::leak(number.to_string().into_boxed_str());
            table.series(CallSide::Client, protocol, None);
        }
        assert_eq!(table.keys().len(), MAX_UNKNOWN);
        let beyond = table.series(CallSide::Client, "new", None);
        assert_eq!(table.keys()[beyond.0 as usize].protocol, "_OTHER");
        assert_eq!(table.keys()[beyond.0 as usize].side, CallSide::Client);
        let other = table.series(CallSide::Server, "new", None);
        assert_eq!(table.keys()[other.0 as usize].side, CallSide::Server);
    }
}
