//! The sums of the counts of several threads.

use std::collections::BTreeMap;

use crate::{
    call_side::CallSide,
    metrics::{
        cells::{CODES, MessageCells, SeriesCells},
        durations::CallDurations,
        shard::{GAUGES, Shard},
        snapshot::MessageCount,
    },
};

/// The sums of shards.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    /// By the numbers of the series.
    pub(super) series: Vec<SeriesSums>,
    pub(super) refused: BTreeMap<(CallSide, &'static str), u64>,
    pub(super) io: BTreeMap<&'static str, IoSums>,
    pub(super) gauges: [u64; GAUGES],
    pub(super) dropped_lines: u64,
}

/// The sums of one series.
#[derive(Debug, Clone, Default)]
pub(super) struct SeriesSums {
    pub(super) started: u64,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) requests: MessageCount,
    pub(super) replies: MessageCount,
    pub(super) retries: u64,
    pub(super) panics: u64,
    /// By code.
    pub(super) durations: [Option<CallDurations>; CODES],
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct IoSums {
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Sums {
    /// Adds the counts of a thread, which may count on meanwhile.
    pub(super) fn add(&mut self, shard: &Shard) {
        for (series, cells) in shard.series.all() {
            let index = series.0 as usize;
            if self.series.len() <= index {
                self.series.resize_with(index + 1, SeriesSums::default);
            }
            self.series[index].add(&cells);
        }
        for (key, count) in shard.refused.all() {
            *self.refused.entry(key).or_default() += count.value();
        }
        for (transport, cells) in shard.io.all() {
            let sums = self.io.entry(transport.0).or_default();
            sums.received += cells.received.value();
            sums.sent += cells.sent.value();
        }
        // A thread may have taken away what another one has added, so that its own gauge is below zero.
        for (sum, gauge) in self.gauges.iter_mut().zip(&shard.gauges) {
            *sum = sum.wrapping_add(gauge.value());
        }
        self.dropped_lines += shard.dropped_lines.value();
    }
}

impl SeriesSums {
    fn add(&mut self, cells: &SeriesCells) {
        self.started += cells.started.value();
        self.began += cells.began.value();
        self.ended += cells.ended.value();
        self.requests.add(&cells.requests);
        self.replies.add(&cells.replies);
        self.retries += cells.retries.value();
        self.panics += cells.panics.value();
        for (sum, cells) in self.durations.iter_mut().zip(&cells.durations) {
            if let Some(cells) = cells.get() {
                sum.get_or_insert_default().add(cells);
            }
        }
    }
}

impl MessageCount {
    fn add(&mut self, cells: &MessageCells) {
        self.messages += cells.messages.value();
        self.bytes += cells.bytes.value();
    }
}
