//! The figures that a simulation counts.

use std::time::Duration;

/// The width of the narrowest count.
const BIN: Duration = Duration::from_millis(10);

/// The counts from one moment on.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) since: Duration,
    /// How many clients have to come back.
    lost: u32,
    /// Dials in each bin.
    dials: Vec<u32>,
    /// Handshakes that were done in time.
    useful: u64,
    wasted: u64,
    dropped: u64,
    /// When no more than one in a hundred was missing.
    back: Option<Duration>,
}

/// The figures of a part of a simulation.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// How many clients had no connection at its beginning.
    pub(crate) lost: u32,
    /// When 99 in 100 of them were back, if they were.
    pub(crate) back: Option<Duration>,
    /// Dials in each 10 ms.
    dials: Vec<u32>,
    /// Handshakes that were done in time.
    pub(crate) useful: u64,
    /// Handshakes that a server did for clients that had given up.
    pub(crate) wasted: u64,
    /// How often a client was not let in for lack of room, without a reply.
    pub(crate) dropped: u64,
}

impl Watch {
    pub(crate) fn new(since: Duration, lost: u32) -> Self {
        Self {
            since,
            lost,
            dials: Vec::new(),
            useful: 0,
            wasted: 0,
            dropped: 0,
            back: None,
        }
    }

    pub(crate) fn dialled(&mut self, now: Duration) {
        let bin = ((now - self.since).as_nanos() / BIN.as_nanos()) as usize;
        if bin >= self.dials.len() {
            self.dials.resize(bin + 1, 0);
        }
        self.dials[bin] += 1;
    }

    pub(crate) fn up(&mut self, now: Duration, missing: u32) {
        self.useful += 1;
        if missing <= self.lost / 100 && self.back.is_none() {
            self.back = Some(now - self.since);
        }
    }

    pub(crate) fn lost(&mut self, missing: u32) {
        if missing > self.lost / 100 {
            self.back = None;
        }
    }

    pub(crate) fn wasted(&mut self) {
        self.wasted += 1;
    }

    pub(crate) fn dropped(&mut self) {
        self.dropped += 1;
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            lost: self.lost,
            back: self.back,
            dials: self.dials.clone(),
            useful: self.useful,
            wasted: self.wasted,
            dropped: self.dropped,
        }
    }
}

impl Figures {
    /// The most dials in any time of this length, by steps of 10 ms.
    pub(crate) fn peak(&self, length: Duration) -> u32 {
        let bins = bins(length);
        let mut sum = 0;
        let mut peak = 0;
        for (index, dials) in self.dials.iter().enumerate() {
            sum += dials;
            if index >= bins {
                sum -= self.dials[index - bins];
            }
            peak = peak.max(sum);
        }
        peak
    }

    /// The mean number of dials in a time of this length, until 99 in 100 were back.
    pub(crate) fn mean(&self, length: Duration) -> f64 {
        let end = self.back.map_or(self.dials.len(), |back| bins(back).max(1));
        let dials: u32 = self.dials.iter().take(end).sum();
        f64::from(dials) * bins(length) as f64 / end as f64
    }

    /// The peak over the mean until 99 in 100 were back.
    pub(crate) fn peak_over_mean(&self, length: Duration) -> f64 {
        f64::from(self.peak(length)) / self.mean(length)
    }

    /// The peak over the dials in a time of this length, if all lost clients dialled once, evenly over another
    /// time.
    pub(crate) fn peak_over_even(&self, length: Duration, over: Duration) -> f64 {
        let even = f64::from(self.lost) * length.as_secs_f64() / over.as_secs_f64();
        f64::from(self.peak(length)) / even
    }
}

fn bins(length: Duration) -> usize {
    length.as_nanos().div_ceil(BIN.as_nanos()) as usize
}
