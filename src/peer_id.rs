//! The id of a peer within one process.

use std::{
    fmt,
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
};

/// The number of a [`Peer`](crate::Peer), which no other peer of this process has or had.
///
/// Numbers rise from 1 in the order in which peers come. They mean nothing to other processes, and begin
/// again when the process is restarted. `Display` prints the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(NonZeroU64);

impl PeerId {
    /// The number of the next peer.
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        // The number would overflow after 500 years of a billion peers a second.
        let before = LAST.fetch_add(1, Ordering::Relaxed);
        Self(NonZeroU64::MIN.saturating_add(before))
    }

    /// The peer with this number.
    #[cfg(test)]
    pub(crate) fn of(number: NonZeroU64) -> Self {
        Self(number)
    }

    /// The number itself.
    pub(crate) fn number(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::PeerId;

    #[test]
    fn numbers_differ_and_rise() {
        let (first, second) = (PeerId::next(), PeerId::next());
        assert!(first < second);
        let number = first.to_string();
        assert!(number.parse::<u64>().is_ok_and(|number| number > 0));
        assert_eq!(format!("{first:?}"), format!("PeerId({number})"));
    }
}
