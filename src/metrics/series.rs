//! The series of calls: one for each side, protocol and method.

use std::collections::HashMap;

use crate::call_side::CallSide;

/// The series that have a method are at most this many. The calls of methods beyond count as those of
/// unknown ones, so that a program that makes methods at run time cannot fill the memory.
pub(super) const MAX_METHODS: usize = 10_000;

/// Each side and protocol has one series of unknown methods; at most this many.
const MAX_UNKNOWN: usize = 100;

/// A label whose values are names of the code has at most this many: limits, transports, reasons of ends. Those
/// beyond count as [`OTHER`]. The code has fewer, so that this bounds only a mistake in it.
pub(super) const MAX_NAMES: usize = 100;

/// The value of labels that are not known, or too many.
pub(super) const OTHER: &str = "_OTHER";

/// The number of a series of one [`Metrics`](crate::Metrics).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Series(pub(super) u32);

/// The labels of a series.
#[derive(Debug)]
pub(super) struct SeriesKey {
    pub(super) side: CallSide,
    pub(super) protocol: &'static str,
    /// The path of the method; `None` if it is not known here.
    pub(super) method: Option<Box<str>>,
}

/// All series, by their numbers and by their labels.
#[derive(Debug)]
pub(super) struct SeriesTable {
    keys: Vec<SeriesKey>,
    /// At most [`MAX_UNKNOWN`], and few in most programs.
    protocols: Vec<ProtocolSeries>,
    methods: usize,
}

/// The series of one side and protocol.
#[derive(Debug)]
struct ProtocolSeries {
    side: CallSide,
    protocol: &'static str,
    unknown: Series,
    methods: HashMap<Box<str>, Series>,
}

impl Default for SeriesTable {
    /// The table with the series of the calls that find no room for one of their own.
    fn default() -> Self {
        let mut table = Self {
            keys: Vec::new(),
            protocols: Vec::new(),
            methods: 0,
        };
        table.add_protocol(CallSide::Client, OTHER);
        table.add_protocol(CallSide::Server, OTHER);
        table
    }
}

impl SeriesTable {
    /// The series with these labels, if there is one. It allocates nothing: methods that are made at run time
    /// are looked up for each call.
    pub(super) fn find(
        &self,
        side: CallSide,
        protocol: &'static str,
        method: Option<&str>,
    ) -> Option<Series> {
        let series = &self.protocols[self.position(side, protocol)?];
        match method {
            Some(method) => series.methods.get(method).copied(),
            None => Some(series.unknown),
        }
    }

    /// The series with these labels. A new one is added if there is room; if not, it is the series of unknown
    /// methods.
    pub(super) fn find_or_add(
        &mut self,
        side: CallSide,
        protocol: &'static str,
        method: Option<&str>,
    ) -> Series {
        if let Some(series) = self.find(side, protocol, method) {
            return series;
        }
        let position = self.position(side, protocol);
        let position = position.unwrap_or_else(|| self.add_protocol(side, protocol));
        match method {
            Some(method) if self.methods < MAX_METHODS => self.add_method(position, method),
            _ => self.protocols[position].unknown,
        }
    }

    /// The labels of the series, in the order of their numbers.
    pub(super) fn keys(&self) -> &[SeriesKey] {
        &self.keys
    }

    fn position(&self, side: CallSide, protocol: &str) -> Option<usize> {
        let mut protocols = self.protocols.iter();
        protocols.position(|it| it.side == side && it.protocol == protocol)
    }

    /// Adds a protocol, or returns the position of `_OTHER` if there are too many.
    fn add_protocol(&mut self, side: CallSide, protocol: &'static str) -> usize {
        if self.protocols.len() >= MAX_UNKNOWN {
            return side as usize;
        }
        let unknown = self.add(SeriesKey {
            side,
            protocol,
            method: None,
        });
        self.protocols.push(ProtocolSeries {
            side,
            protocol,
            unknown,
            methods: HashMap::new(),
        });
        self.protocols.len() - 1
    }

    fn add_method(&mut self, position: usize, method: &str) -> Series {
        let ProtocolSeries { side, protocol, .. } = self.protocols[position];
        let series = self.add(SeriesKey {
            side,
            protocol,
            method: Some(method.into()),
        });
        self.methods += 1;
        let methods = &mut self.protocols[position].methods;
        methods.insert(method.into(), series);
        series
    }

    fn add(&mut self, key: SeriesKey) -> Series {
        self.keys.push(key);
        Series(self.keys.len() as u32 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{CallSide, MAX_METHODS, MAX_UNKNOWN, SeriesTable};

    #[test]
    fn a_series_is_found_again() {
        let mut table = SeriesTable::default();
        let first = table.find_or_add(CallSide::Server, "wawo", Some("a.B/C"));
        let others = [
            table.find_or_add(CallSide::Client, "wawo", Some("a.B/C")),
            table.find_or_add(CallSide::Server, "grpc", Some("a.B/C")),
            table.find_or_add(CallSide::Server, "wawo", Some("a.B/D")),
            table.find_or_add(CallSide::Server, "wawo", None),
        ];
        assert!(!others.contains(&first));
        assert_eq!(
            table.find_or_add(CallSide::Server, "wawo", Some("a.B/C")),
            first
        );
    }

    #[test]
    fn a_method_beyond_the_limit_counts_as_an_unknown_one() {
        let mut table = SeriesTable::default();
        let mut add = |number: usize| {
            let path = format!("a.B/{number}");
            table.find_or_add(CallSide::Server, "wawo", Some(&path))
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
        assert_eq!(beyond, table.find_or_add(CallSide::Server, "wawo", None));
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
            table.find_or_add(CallSide::Client, protocol, None);
        }
        assert_eq!(table.keys().len(), MAX_UNKNOWN);
        let beyond = table.find_or_add(CallSide::Client, "new", None);
        assert_eq!(table.keys()[beyond.0 as usize].protocol, "_OTHER");
        assert_eq!(table.keys()[beyond.0 as usize].side, CallSide::Client);
        let other = table.find_or_add(CallSide::Server, "new", None);
        assert_eq!(table.keys()[other.0 as usize].side, CallSide::Server);
    }
}
