//! The shards of all threads, and the counts that are too rare to need a shard.
//!
//! ```text
//!   a thread ──► its Writer ──► its Shard ◄─ ─ ─ ─ a reader sums them up
//!                    │ the thread ends                    │
//!                    └─────────► the sums of ended threads ┘
//! ```

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak},
};

use crate::{
    call_side::CallSide,
    metrics::{
        connections::Connections,
        series::{Series, SeriesTable},
        shard::Shard,
        sums::Sums,
        writer::Writer,
    },
};

/// The state of a [`Metrics`](crate::Metrics).
pub(super) struct Registry {
    series: RwLock<SeriesTable>,
    pub(super) connections: Mutex<Connections>,
    shards: Mutex<Shards>,
    /// For threads whose thread-locals are destroyed.
    late: Mutex<Writer>,
}

struct Shards {
    live: Vec<Arc<Shard>>,
    /// The counts of the threads that have ended. A reader that holds them while a thread ends keeps them
    /// as they were: it has the shard of that thread already.
    ended: Arc<Sums>,
}

impl Default for Registry {
    fn default() -> Self {
        let late = Writer::default();
        let shards = Shards {
            live: vec![late.shard().clone()],
            ended: Arc::default(),
        };
        Self {
            series: RwLock::default(),
            connections: Mutex::default(),
            shards: Mutex::new(shards),
            late: Mutex::new(late),
        }
    }
}

impl Registry {
    /// Lets `record` count in the shard of this thread.
    #[inline]
    pub(super) fn write(self: &Arc<Self>, record: impl Fn(&mut Writer)) {
        let in_time = WRITERS.try_with(|writers| {
            // Only an allocator that makes calls could find it borrowed.
            let mut writers = writers.try_borrow_mut().ok()?;
            record(writers.writer(self));
            Some(())
        });
        if !matches!(in_time, Ok(Some(()))) {
            self.write_late(record);
        }
    }

    #[cold]
    fn write_late(&self, record: impl Fn(&mut Writer)) {
        record(&mut lock(&self.late));
    }

    /// The series with these labels. A new one is added, up to a limit.
    pub(super) fn series(
        &self,
        side: CallSide,
        protocol: &'static str,
        method: Option<&str>,
    ) -> Series {
        let found = self.all_series().find(side, protocol, method);
        found.unwrap_or_else(|| {
            let mut all = self.series.write().unwrap_or_else(PoisonError::into_inner);
            all.find_or_add(side, protocol, method)
        })
    }

    pub(super) fn all_series(&self) -> RwLockReadGuard<'_, SeriesTable> {
        self.series.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sums of all threads, those that have ended too.
    pub(super) fn sums(&self) -> Sums {
        let (ended, live) = {
            let shards = lock(&self.shards);
            (shards.ended.clone(), shards.live.clone())
        };
        let mut sums = Arc::unwrap_or_clone(ended);
        live.iter().for_each(|shard| sums.add(shard));
        sums
    }

    fn add_writer(&self) -> Writer {
        let writer = Writer::default();
        lock(&self.shards).live.push(writer.shard().clone());
        writer
    }

    /// Keeps the counts of a thread that ends.
    fn retire(&self, writer: &Writer) {
        let shards = &mut *lock(&self.shards);
        shards
            .live
            .retain(|shard| !Arc::ptr_eq(shard, writer.shard()));
        Arc::make_mut(&mut shards.ended).add(writer.shard());
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static WRITERS: RefCell<Writers> = const { RefCell::new(Writers(Vec::new())) };
}

/// The writers of a thread: one for each registry, the last used one first. Most programs have one.
struct Writers(Vec<LocalWriter>);

struct LocalWriter {
    /// The address of the registry. It is not used again as long as there is a `Weak`.
    address: usize,
    registry: Weak<Registry>,
    writer: Writer,
}

impl Writers {
    #[inline]
    fn writer(&mut self, registry: &Arc<Registry>) -> &mut Writer {
        let is_first = self.0.first().is_some_and(|first| first.is_of(registry));
        if !is_first {
            self.bring_to_front(registry);
        }
        &mut self.0[0].writer
    }

    #[cold]
    fn bring_to_front(&mut self, registry: &Arc<Registry>) {
        let found = self.0.iter().position(|local| local.is_of(registry));
        let found = found.unwrap_or_else(|| {
            self.0.retain(|local| local.registry.strong_count() > 0);
            self.0.push(LocalWriter {
                address: Arc::as_ptr(registry).addr(),
                registry: Arc::downgrade(registry),
                writer: registry.add_writer(),
            });
            self.0.len() - 1
        });
        self.0.swap(0, found);
    }
}

impl LocalWriter {
    #[inline]
    fn is_of(&self, registry: &Arc<Registry>) -> bool {
        self.address == Arc::as_ptr(registry).addr()
    }
}

impl Drop for LocalWriter {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.retire(&self.writer);
        }
    }
}
