//! The one writer of a shard.

use std::sync::Arc;

use crate::{
    call_side::CallSide,
    metrics::{
        cells::{IoCells, SeriesCells},
        counter::Counter,
        figures::Gauge,
        series::{MAX_NAMES, OTHER, Series},
        shard::{CellList, Name, Shard},
    },
};

/// Counts for one thread. It keeps the cells that it made at hand.
#[derive(Debug, Default)]
pub(super) struct Writer {
    shard: Arc<Shard>,
    /// By the numbers of the series.
    series: Vec<Option<Arc<SeriesCells>>>,
    refused: NamedCells<(CallSide, &'static str), Counter>,
    io: NamedCells<Name, IoCells>,
}

impl Writer {
    pub(super) fn shard(&self) -> &Arc<Shard> {
        &self.shard
    }

    /// Lets `record` count in the cells of a series.
    #[inline]
    pub(super) fn series(&mut self, series: Series, record: impl FnOnce(&SeriesCells)) {
        match self.series.get(series.0 as usize) {
            Some(Some(cells)) => record(cells),
            _ => self.add_series(series, record),
        }
    }

    pub(super) fn call_refused(&mut self, side: CallSide, limit: &'static str) {
        let list = &self.shard.refused;
        self.refused
            .cells(list, (side, limit), (side, OTHER))
            .add(1);
    }

    /// The bytes of a kind of sockets.
    pub(super) fn io(&mut self, transport: &'static str) -> &IoCells {
        self.io.cells(&self.shard.io, Name(transport), Name(OTHER))
    }

    pub(super) fn change_gauge(&self, gauge: Gauge, by: i64) {
        self.shard.gauges[gauge as usize].add(by.cast_unsigned());
    }

    pub(super) fn log_dropped(&self, lines: u64) {
        self.shard.dropped_lines.add(lines);
    }

    #[cold]
    fn add_series(&mut self, series: Series, record: impl FnOnce(&SeriesCells)) {
        let index = series.0 as usize;
        if self.series.len() <= index {
            self.series.resize(index + 1, None);
        }
        let cells = self.shard.series.add(series);
        record(&cells);
        self.series[index] = Some(cells);
    }
}

/// Cells by a few names, found by looking at each.
#[derive(Debug)]
struct NamedCells<K, C>(Vec<(K, Arc<C>)>);

impl<K, C> Default for NamedCells<K, C> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + PartialEq, C: Default> NamedCells<K, C> {
    /// The cells with this key, which are added to `list` if they are new; if there are too many, those with
    /// the key `other`.
    fn cells(&mut self, list: &CellList<K, C>, key: K, other: K) -> &C {
        let index = self.position(key).unwrap_or_else(|| {
            let key = if self.0.len() < MAX_NAMES { key } else { other };
            let known = self.position(key);
            known.unwrap_or_else(|| {
                self.0.push((key, list.add(key)));
                self.0.len() - 1
            })
        });
        &self.0[index].1
    }

    fn position(&self, key: K) -> Option<usize> {
        self.0.iter().position(|(known, _)| *known == key)
    }
}

#[cfg(test)]
mod tests {
    use super::{CellList, Counter, MAX_NAMES, NamedCells};

    #[test]
    fn names_beyond_the_limit_share_one_count() {
        let list = CellList::<usize, Counter>::default();
        let mut cells = NamedCells::default();
        for name in 0..MAX_NAMES + 10 {
            cells.cells(&list, name, usize::MAX).add(1);
        }
        cells.cells(&list, 0, usize::MAX).add(1);
        let all = list.all();
        let counts: Vec<_> = all
            .iter()
            .map(|(name, count)| (*name, count.value()))
            .collect();
        assert_eq!(counts.len(), MAX_NAMES + 1);
        assert_eq!(counts[0], (0, 2));
        assert_eq!(counts[MAX_NAMES], (usize::MAX, 10));
    }
}
