//! Warnings that a crowd must not turn into a flood.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A warning of one kind is logged this often at most, with how often it would have been.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts the occasions for one warning.
#[derive(Debug, Default)]
pub(crate) struct Complaint(Mutex<Occasions>);

#[derive(Debug, Default)]
struct Occasions {
    logged: Option<Instant>,
    since: u64,
}

impl Complaint {
    /// There is an occasion. If a line is due, returns how many there were since the last one.
    pub(crate) fn is_due(&self, now: Instant) -> Option<u64> {
        let mut occasions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        occasions.since += 1;
        let logged = occasions.logged;
        if logged.is_some_and(|at| now.saturating_duration_since(at) < INTERVAL) {
            return None;
        }
        occasions.logged = Some(now);
        Some(std::mem::take(&mut occasions.since))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Complaint, INTERVAL};

    #[test]
    fn a_warning_comes_once_a_second_with_its_count() {
        let (complaint, now) = (Complaint::default(), Instant::now());
        assert_eq!(complaint.is_due(now), Some(1));
        for _ in 0..10 {
            assert_eq!(complaint.is_due(now + INTERVAL / 2), None);
        }
        assert_eq!(complaint.is_due(now + INTERVAL), Some(11));
        assert_eq!(complaint.is_due(now + INTERVAL), None);
        assert_eq!(complaint.is_due(now + 5 * INTERVAL), Some(2));
    }
}
