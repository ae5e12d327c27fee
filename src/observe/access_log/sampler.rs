//! Chooses one in n calls.

use std::sync::atomic::{AtomicU64, Ordering};

/// Chooses the first of each n calls, whichever thread they end in. It has a cache line of its own, since
/// all threads write to it.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Sampler {
    one_in: u32,
    calls: AtomicU64,
}

impl Sampler {
    /// One in 0 is none.
    pub(super) fn new(one_in: u32) -> Self {
        Self {
            one_in,
            calls: AtomicU64::new(0),
        }
    }

    pub(super) fn one_in(&self) -> u32 {
        self.one_in
    }

    /// Whether the next call is chosen.
    pub(super) fn choose(&self) -> bool {
        match self.one_in {
            0 => false,
            1 => true,
            one_in => {
                let before = self.calls.fetch_add(1, Ordering::Relaxed);
                before.is_multiple_of(one_in.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::Sampler;

    #[test]
    fn one_in_n_is_chosen_across_threads_and_the_first_is_among_them() {
        for (one_in, expected) in [(0, 0), (1, 3_000), (7, 429), (100, 30), (4_000, 1)] {
            let sampler = Sampler::new(one_in);
            let choose = || (0..1_000).filter(|_| sampler.choose()).count();
            let chosen: usize = thread::scope(|scope| {
                let threads = [(); 3].map(|()| scope.spawn(choose));
                threads.map(|thread| thread.join().unwrap()).iter().sum()
            });
            assert_eq!(chosen, expected, "one in {one_in}");
        }
    }
}
