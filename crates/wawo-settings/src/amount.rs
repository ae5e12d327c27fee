//! Amounts: the values of settings in their smallest unit, and how they are written.
//!
//! A count is written as a whole number, a size as a number of bytes or with `KiB`, `MiB` or `GiB`
//! behind it, a time with `ms`, `s`, `m` or `h`. A time without a unit is refused, since `5` could
//! mean seconds or milliseconds. `KB` and `MB` are refused, since they mean 1,000 to some and 1,024
//! to others. Tables use the same syntax as users, so the parser also runs at compile time.

use std::time::Duration;

/// Nanoseconds in a second: the amount of a time is in nanoseconds.
const SECOND: u128 = 1_000_000_000;

/// The longest time, which is written `never`.
const NEVER: u128 = Duration::MAX.as_nanos();

/// The unit of a setting's amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// A number of things.
    Count,
    /// A size in bytes.
    Bytes,
    /// A time in nanoseconds.
    Time,
}

impl Unit {
    /// The amount that a table writes.
    ///
    /// # Panics
    ///
    /// If the text is no amount of this unit; for a table, that is an error at compile time.
    pub const fn amount(self, text: &str) -> u128 {
        self.parse(text).expect("an amount of the unit")
    }

    /// The amount that a text stands for; `None` if the text is no amount of this unit, or does not
    /// fit into the type.
    pub(crate) const fn parse(self, text: &str) -> Option<u128> {
        let (mut number, mut rest) = (0_u128, text.as_bytes());
        while let [digit @ b'0'..=b'9', behind @ ..] = rest {
            let Some(tenfold) = number.checked_mul(10) else {
                return None;
            };
            let Some(sum) = tenfold.checked_add((*digit - b'0') as u128) else {
                return None;
            };
            (number, rest) = (sum, behind);
        }
        if rest.len() == text.len() {
            return match (self, rest) {
                (Self::Time, b"never") => Some(NEVER),
                _ => None,
            };
        }
        match self.multiple(rest.trim_ascii_start()) {
            Some(multiple) => number.checked_mul(multiple),
            None => None,
        }
    }

    /// The amount that a suffix behind a number stands for.
    const fn multiple(self, suffix: &[u8]) -> Option<u128> {
        Some(match (self, suffix) {
            (Self::Count | Self::Bytes, b"") => 1,
            (Self::Bytes, b"KiB") => 1 << 10,
            (Self::Bytes, b"MiB") => 1 << 20,
            (Self::Bytes, b"GiB") => 1 << 30,
            (Self::Time, b"ms") => SECOND / 1000,
            (Self::Time, b"s") => SECOND,
            (Self::Time, b"m") => 60 * SECOND,
            (Self::Time, b"h") => 3600 * SECOND,
            _ => return None,
        })
    }

    /// The amount as errors write it, in full precision.
    pub(crate) fn write(self, amount: u128) -> String {
        match self {
            Self::Count | Self::Bytes => amount.to_string(),
            Self::Time => format!("{:?}", duration_of(amount)),
        }
    }

    /// How an amount of this unit is written, for an error.
    pub(crate) const fn expected(self) -> &'static str {
        match self {
            Self::Count => "a whole number, such as 1024",
            Self::Bytes => "a number of bytes, KiB, MiB or GiB, such as 65536 or 64KiB",
            Self::Time => "a time in ms, s, m or h, such as 500ms or 30s, or never",
        }
    }
}

/// A type of settings.
pub trait Value: Sized {
    /// The amount; `None` is the absent value.
    fn amount(&self) -> Option<u128>;

    /// The value for an amount; `None` if the type has no such value.
    fn from_amount(amount: Option<u128>) -> Option<Self>;
}

impl Value for u32 {
    fn amount(&self) -> Option<u128> {
        Some((*self).into())
    }

    fn from_amount(amount: Option<u128>) -> Option<Self> {
        amount?.try_into().ok()
    }
}

impl Value for usize {
    fn amount(&self) -> Option<u128> {
        Some(*self as u128)
    }

    fn from_amount(amount: Option<u128>) -> Option<Self> {
        amount?.try_into().ok()
    }
}

impl Value for Duration {
    fn amount(&self) -> Option<u128> {
        Some(self.as_nanos())
    }

    fn from_amount(amount: Option<u128>) -> Option<Self> {
        amount.filter(|&amount| amount <= NEVER).map(duration_of)
    }
}

impl<V: Value> Value for Option<V> {
    fn amount(&self) -> Option<u128> {
        self.as_ref()?.amount()
    }

    fn from_amount(amount: Option<u128>) -> Option<Self> {
        match amount {
            None => Some(None),
            Some(_) => V::from_amount(amount).map(Some),
        }
    }
}

/// The number of an amount in a table.
///
/// # Panics
///
/// If it is too large; the compiler says so of a table.
pub const fn u32_of(amount: u128) -> u32 {
    assert!(amount <= u32::MAX as u128, "beyond the type of the setting");
    amount as u32
}

/// The number of an amount in a table.
///
/// # Panics
///
/// If it is too large; the compiler says so of a table.
pub const fn usize_of(amount: u128) -> usize {
    assert!(
        amount <= usize::MAX as u128,
        "beyond the type of the setting"
    );
    amount as usize
}

/// The duration of an amount, at most [`Duration::MAX`].
pub const fn duration_of(amount: u128) -> Duration {
    let amount = if amount < NEVER { amount } else { NEVER };
    Duration::new((amount / SECOND) as u64, (amount % SECOND) as u32)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{NEVER, SECOND, Unit, Value};

    #[test]
    fn amounts_are_read_with_their_units_only() {
        let (count, bytes, time) = (Unit::Count, Unit::Bytes, Unit::Time);
        for (unit, text, amount) in [
            (count, "0", Some(0)),
            (count, "1024", Some(1024)),
            (count, "1KiB", None),
            (count, "1,024", None),
            (count, "-1", None),
            (count, "+1", None),
            (count, "1.5", None),
            (count, "", None),
            (count, "never", None),
            (bytes, "65536", Some(65_536)),
            (bytes, "64KiB", Some(65_536)),
            (bytes, "64 MiB", Some(64 << 20)),
            (bytes, "1GiB", Some(1 << 30)),
            (bytes, "1KB", None),
            (bytes, "1kib", None),
            (bytes, "KiB", None),
            (bytes, "1s", None),
            (time, "500ms", Some(SECOND / 2)),
            (time, "10 s", Some(10 * SECOND)),
            (time, "2m", Some(120 * SECOND)),
            (time, "1h", Some(3600 * SECOND)),
            (time, "never", Some(NEVER)),
            (time, "5", None),
            (time, "1d", None),
            (time, "1 h 5 m", None),
            (time, "1KiB", None),
            (
                count,
                "340282366920938463463374607431768211455",
                Some(u128::MAX),
            ),
            (count, "340282366920938463463374607431768211456", None),
            (count, "3402823669209384634633746074317682114550", None),
            (bytes, "340282366920938463463374607431768211455KiB", None),
        ] {
            assert_eq!(unit.parse(text), amount, "{unit:?} {text}");
        }
    }

    #[test]
    fn amounts_are_written_to_the_last_digit() {
        assert_eq!(Unit::Bytes.write(131_073), "131073");
        assert_eq!(Unit::Time.write(SECOND / 1000), "1ms");
        assert_eq!(Unit::Time.write(1), "1ns");
        assert_eq!(Unit::Time.write(90 * SECOND), "90s");
    }

    #[test]
    fn amounts_beyond_a_type_are_no_values_of_it() {
        let (most, largest) = (u32::MAX.into(), usize::MAX as u128);
        assert_eq!(u32::from_amount(Some(most)), Some(u32::MAX));
        assert_eq!(u32::from_amount(Some(most + 1)), None);
        assert_eq!(usize::from_amount(Some(largest)), Some(usize::MAX));
        assert_eq!(usize::from_amount(Some(largest + 1)), None);
        assert_eq!(Duration::from_amount(Some(NEVER)), Some(Duration::MAX));
        assert_eq!(Duration::from_amount(Some(NEVER + 1)), None);
        assert_eq!(u32::from_amount(None), None);
        assert_eq!(Option::<u32>::from_amount(None), Some(None));
        assert_eq!(Option::<u32>::from_amount(Some(most + 1)), None);
    }
}
