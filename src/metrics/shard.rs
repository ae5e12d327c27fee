//! The counts of one thread, as readers find them.

use std::{
    ptr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    call_side::CallSide,
    metrics::{
        cells::{IoCells, SeriesCells},
        counter::Counter,
        series::Series,
    },
};

/// The number of [`Gauge`](super::figures::Gauge)s.
pub(super) const GAUGES: usize = 4;

/// The counts of one thread. Its [`Writer`](super::writer::Writer) counts without a lock; it takes the locks
/// here only to add cells, and readers take them only to list the cells.
#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) series: CellList<Series, SeriesCells>,
    /// By side and limit.
    pub(super) refused: CellList<(CallSide, &'static str), Counter>,
    /// By transport.
    pub(super) io: CellList<Name, IoCells>,
    pub(super) gauges: [Counter; GAUGES],
    pub(super) dropped_lines: Counter,
}

/// A name of the code. The same one is mostly at the same address, which is compared first.
#[derive(Debug, Clone, Copy, Eq)]
pub(super) struct Name(pub(super) &'static str);

impl PartialEq for Name {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.0, other.0) || self.0 == other.0
    }
}

/// Cells, with the labels that they belong to.
#[derive(Debug)]
pub(super) struct CellList<K, C>(Mutex<Vec<(K, Arc<C>)>>);

impl<K, C> Default for CellList<K, C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone, C: Default> CellList<K, C> {
    /// Adds cells that were not there.
    pub(super) fn add(&self, key: K) -> Arc<C> {
        let cells = Arc::new(C::default());
        self.lock().push((key, cells.clone()));
        cells
    }

    pub(super) fn all(&self) -> Vec<(K, Arc<C>)> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(K, Arc<C>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
