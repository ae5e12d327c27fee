//! Times as RFC 3339 writes them, in UTC.

use std::time::SystemTime;

use crate::observe::access_log::digits::padded;

const SECONDS_A_DAY: u64 = 86_400;

/// The days from the first of March of the year 0 to 1970. A year that begins in March ends with its leap
/// day, so that only the last part of each cycle of years has another length.
const DAYS_BEFORE_1970: u64 = 719_468;

/// The first day of the year 1, and that of the year 10000, by the same count.
const FIRST_DAY: u64 = 306;
const END_DAY: u64 = 3_652_365;

/// Adds a time with microseconds, such as `2026-11-30T11:05:30.123456Z`. RFC 3339 has years of four digits,
/// so that a time before the year 1 or after 9999 is written as the first or the last of these.
pub(super) fn push(line: &mut Vec<u8>, time: SystemTime) {
    let (seconds, micros) = since_march(time);
    let (day, second) = (seconds / SECONDS_A_DAY, seconds % SECONDS_A_DAY);
    // Ten thousand years have fewer than 2^22 days.
    let ((year, month, day), second) = (date(day as u32), second as u32);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    text[..4].copy_from_slice(&padded::<4>(year));
    text[5..7].copy_from_slice(&padded::<2>(month));
    text[8..10].copy_from_slice(&padded::<2>(day));
    text[11..13].copy_from_slice(&padded::<2>(second / 3_600));
    text[14..16].copy_from_slice(&padded::<2>(second / 60 % 60));
    text[17..19].copy_from_slice(&padded::<2>(second % 60));
    text[20..26].copy_from_slice(&padded::<6>(micros));
    line.extend_from_slice(&text);
}

/// The seconds since the first of March of the year 0, and the microseconds after them.
fn since_march(time: SystemTime) -> (u64, u32) {
    const EPOCH: u64 = DAYS_BEFORE_1970 * SECONDS_A_DAY;
    let (seconds, micros) = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => (EPOCH.saturating_add(after.as_secs()), after.subsec_micros()),
        Err(before) => {
            let before = before.duration();
            // A part of a second before 1970 is a second earlier, and the rest of that second.
            let part = before.subsec_nanos();
            let whole = before.as_secs().saturating_add(u64::from(part > 0));
            let micros = (1_000_000_000 - part) / 1_000 % 1_000_000;
            (EPOCH.saturating_sub(whole), micros)
        }
    };
    match seconds / SECONDS_A_DAY {
        ..FIRST_DAY => (FIRST_DAY * SECONDS_A_DAY, 0),
        FIRST_DAY..END_DAY => (seconds, micros),
        END_DAY.. => (END_DAY * SECONDS_A_DAY - 1, 999_999),
    }
}

/// The year, month and day, by the days since the first of March of the year 0.
fn date(days: u32) -> (u32, u32, u32) {
    let (centuries4, days) = (days / 146_097, days % 146_097);
    let centuries = (days / 36_524).min(3);
    let days = days - centuries * 36_524;
    let (years4, days) = (days / 1_461, days % 1_461);
    let years = (days / 365).min(3);
    let days = days - years * 365;
    let year = centuries4 * 400 + centuries * 100 + years4 * 4 + years;
    // From March on, five months have 153 days, again and again.
    let month = (days * 5 + 2) / 153;
    let day = days - (month * 153 + 2) / 5 + 1;
    match month < 10 {
        true => (year, month + 3, day),
        false => (year + 1, month - 9, day),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::push;

    fn text(time: Option<SystemTime>) -> String {
        let mut line = Vec::new();
        push(&mut line, time.unwrap());
        String::from_utf8(line).unwrap()
    }

    fn after(micros: u64) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros))
    }

    fn before(time: Duration) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_sub(time)
    }

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1, "1970-01-01T00:00:00.000001Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (951_868_800_000_000, "2000-03-01T00:00:00.000000Z"),
            (1_709_164_800_000_000, "2024-02-29T00:00:00.000000Z"),
            (1_735_689_599_000_000, "2024-12-31T23:59:59.000000Z"),
            (1_796_036_730_123_456, "2026-11-30T11:05:30.123456Z"),
            (4_107_542_399_000_000, "2100-02-28T23:59:59.000000Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(text(after(micros)), expected, "{micros}");
        }
    }

    /// A day counter that knows only how long each month is.
    #[test]
    fn each_day_of_eight_hundred_years_follows_the_day_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..800 * 365 {
            let expected = format!("{year:04}-{month:02}-{day:02}T00:00:00.000000Z");
            assert_eq!(text(after(days * 86_400_000_000)), expected);
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if is_leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }

    #[test]
    fn times_before_1970_and_those_that_rfc_3339_cannot_write_are_times_all_the_same() {
        for (nanos, expected) in [
            (1_000_000_000, "1969-12-31T23:59:59.000000Z"),
            (1_000, "1969-12-31T23:59:59.999999Z"),
            (1_500_000_000, "1969-12-31T23:59:58.500000Z"),
        ] {
            assert_eq!(text(before(Duration::from_nanos(nanos))), expected);
        }
        let (first, last) = ("0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z");
        assert_eq!(text(after(253_402_300_800_000_000)), last);
        // Not every system has times that far away.
        for far in [1 << 40, 1 << 50, i64::MAX as u64] {
            let far = Duration::from_secs(far);
            let later = SystemTime::UNIX_EPOCH.checked_add(far);
            assert!(later.is_none() || text(later) == last);
            assert!(before(far).is_none() || text(before(far)) == first);
        }
    }
}
