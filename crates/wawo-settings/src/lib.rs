//! Settings as rows of a table, in which the name, unit, default and range of each stand once.
//!
//! From such a table, [`settings!`] makes the fields, the methods of a builder that set them, the
//! methods that read them, and a [`Row`] for each. The same code checks the ranges of all rows, reads
//! settings from text by their names, from variables of the environment and from files, and lists them
//! for documents.
//!
//! ```text
//!   table --settings!--> fields, builder, readers
//!     |
//!     '--> Row: name, unit, range -+- check   (a builder's `build`)
//!                                  +- read    (text: `set`, variables, files)
//!                                  '- describe (documents)
//! ```
//!
//! The crate is a part of wawo, and is not meant to be used without it: `wawo-protocol` has the tables of
//! a connection, `wawo` that of a server, and both pass on what users need of it, [`ConfigError`] and
//! [`Setting`]. It is a crate of its own since it knows nothing of the protocol, and the protocol, which
//! does no I/O, should not know how settings are read.

mod amount;
mod error;
#[cfg(feature = "serde")]
mod file;
mod names;

use std::fmt;

#[cfg(feature = "serde")]
pub use crate::file::deserialize;
pub use crate::{
    amount::{Unit, Value, duration_of, u32_of, usize_of},
    error::ConfigError,
    names::{Settable, check_variables, set, set_from_variables, switch},
};

/// A setting as documents and command line tools list it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// Its name, in files and as a method of the builder.
    pub name: &'static str,
    /// The default, such as `128 KiB`, `10 s` or `none`.
    pub default: &'static str,
    /// The values that it may have, such as `16 KiB to 1 GiB`.
    pub range: &'static str,
}

/// One setting of `S`: a number, a size or a time. Some settings may be absent.
#[allow(
    clippy::exhaustive_structs,
    reason = "tables of crates above are made of it"
)]
pub struct Row<S> {
    /// The name of the setting, of its field and of its methods.
    pub name: &'static str,
    /// The unit of its amounts.
    pub unit: Unit,
    /// The default as the table writes it.
    pub default: &'static str,
    /// The range as the table writes it.
    pub range: &'static str,
    /// The least amount.
    pub least: u128,
    /// The greatest amount; `None` if only the type of the field bounds it.
    pub most: Option<u128>,
    /// The effect of the absent value; `None` if the setting cannot be absent.
    pub absent: Option<&'static str>,
    /// Reads the field; `None` is the absent value.
    pub get: fn(&S) -> Option<u128>,
    /// Writes the field; false if its type does not hold the amount.
    pub set: fn(&mut S, Option<u128>) -> bool,
}

impl<S> Row<S> {
    /// # Errors
    ///
    /// If the setting is out of its range.
    pub fn check(&self, settings: &S) -> Result<(), ConfigError> {
        match (self.get)(settings) {
            Some(amount) if !self.contains(amount) => {
                Err(self.out_of_range(self.name, self.unit.write(amount)))
            }
            _ => Ok(()),
        }
    }

    /// Sets the setting from a text. The error names `key`, by which the user knows the setting.
    ///
    /// # Errors
    ///
    /// If the text is no amount of the unit, or the amount is out of the range.
    pub fn read(&self, settings: &mut S, key: &str, text: &str) -> Result<(), ConfigError> {
        let text = text.trim();
        let amount = match self.absent {
            Some(_) if text == "none" => None,
            _ => Some(
                self.unit
                    .parse(text)
                    .ok_or_else(|| self.unreadable(key, text))?,
            ),
        };
        let is_right = amount.is_none_or(|amount| self.contains(amount));
        match is_right && (self.set)(settings, amount) {
            true => Ok(()),
            false => Err(self.out_of_range(key, text.to_owned())),
        }
    }

    /// The setting as documents list it.
    pub fn describe(&self) -> Setting {
        Setting {
            name: self.name,
            default: self.default,
            range: self.range,
        }
    }

    fn contains(&self, amount: u128) -> bool {
        self.least <= amount && self.most.is_none_or(|most| amount <= most)
    }

    fn out_of_range(&self, key: &str, value: String) -> ConfigError {
        let least = self.unit.write(self.least);
        let mut range = match self.most.map(|most| self.unit.write(most)) {
            Some(most) => format!("from {least} to {most}"),
            None => format!("at least {least}"),
        };
        if let Some(effect) = self.absent {
            range += &format!(", or none for {effect}");
        }
        ConfigError::OutOfRange {
            setting: key.to_owned(),
            value,
            range,
        }
    }

    fn unreadable(&self, key: &str, text: &str) -> ConfigError {
        let or_none = if self.absent.is_some() {
            ", or none"
        } else {
            ""
        };
        ConfigError::Unreadable {
            setting: key.to_owned(),
            value: text.to_owned(),
            expected: format!("{}{or_none}", self.unit.expected()),
        }
    }
}

impl<S> fmt::Debug for Row<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("name", &self.name).finish()
    }
}

/// Makes settings from a table. A row has the unit, the name, the type, the default and the least
/// value; it may have a greatest value, and, for a setting that may be absent, the effect of that.
/// Amounts are written as users write them, and parsed at compile time:
///
/// ```text
/// settings! {
///     Amounts, Config, ConfigBuilder;
///     /// Documentation.
///     Time stall_timeout: Duration = "30 s", least "1 ms";
///     Count workers: usize = "none", least "1", most "1024", none "no workers";
/// }
/// ```
///
/// This defines the struct `Amounts` with a field for each row, its `Default` and `Amounts::ROWS`.
/// The builder must have a method `amounts_mut`, the other type a method `amounts`.
#[macro_export]
macro_rules! settings {
    (
        $amounts:ident, $config:ident, $builder:ident;
        $(
            $(#[$doc:meta])*
            $unit:ident $name:ident: $type:ident = $default:tt, least $least:literal
            $(, most $most:literal)? $(, none $absent:literal)?;
        )*
    ) => {
        /// The settings that are numbers, sizes and times.
        #[derive(Debug, Clone)]
        struct $amounts {
            $($name: $crate::settings!(@type $type $(, $absent)?),)*
        }

        impl Default for $amounts {
            fn default() -> Self {
                Self {
                    $($name: const {
                        $crate::settings!(@value $unit, $type, $default $(, $absent)?)
                    },)*
                }
            }
        }

        impl $amounts {
            const ROWS: &'static [$crate::Row<Self>] = &[
                $($crate::settings!(
                    @row $unit $name = $default, least $least $(, most $most)? $(, none $absent)?
                ),)*
            ];
        }

        impl $builder {
            $(
                $(#[$doc])*
                ///
                #[doc = $crate::settings!(
                    @doc $default, least $least $(, most $most)? $(, none $absent)?
                )]
                pub fn $name(
                    mut self,
                    value: $crate::settings!(@type $type $(, $absent)?),
                ) -> Self {
                    self.amounts_mut().$name = value;
                    self
                }
            )*
        }

        impl $config {
            $(
                #[doc = concat!("See [`", stringify!($builder), "::", stringify!($name), "`].")]
                #[inline]
                pub fn $name(&self) -> $crate::settings!(@type $type $(, $absent)?) {
                    self.amounts().$name
                }
            )*
        }
    };
    (
        @row $unit:ident $name:ident = $default:literal, least $least:literal
        $(, most $most:literal)? $(, none $absent:literal)?
    ) => {
        $crate::Row {
            name: stringify!($name),
            unit: $crate::Unit::$unit,
            default: $default,
            range: $crate::settings!(@range $least $(, most $most)? $(, none $absent)?),
            least: $crate::Unit::$unit.amount($least),
            most: $crate::settings!(@optional $($crate::Unit::$unit.amount($most))?),
            absent: $crate::settings!(@optional $($absent)?),
            get: |settings| $crate::Value::amount(&settings.$name),
            set: |settings, amount| {
                let value = $crate::Value::from_amount(amount);
                value.map(|value| settings.$name = value).is_some()
            },
        }
    };
    (
        @doc $default:literal, least $least:literal
        $(, most $most:literal)? $(, none $absent:literal)?
    ) => {
        concat!(
            "Default ", $default, "; ",
            $crate::settings!(@range $least $(, most $most)? $(, none $absent)?),
            $(" for ", $absent,)? "."
        )
    };
    (@range $least:literal $(, none $absent:literal)?) => {
        concat!("at least ", $least $(, $crate::settings!(@or_none $absent))?)
    };
    (@range $least:literal, most $most:literal $(, none $absent:literal)?) => {
        concat!($least, " to ", $most $(, $crate::settings!(@or_none $absent))?)
    };
    (@or_none $absent:literal) => { ", or none" };
    (@type $type:ident) => { $type };
    (@type $type:ident, $absent:literal) => { Option<$type> };
    (@value $unit:ident, $type:ident, "none", $absent:literal) => { None };
    (@value $unit:ident, $type:ident, $default:literal, $absent:literal) => {
        Some($crate::settings!(@value $unit, $type, $default))
    };
    (@value $unit:ident, u32, $default:literal) => {
        $crate::u32_of($crate::Unit::$unit.amount($default))
    };
    (@value $unit:ident, usize, $default:literal) => {
        $crate::usize_of($crate::Unit::$unit.amount($default))
    };
    (@value $unit:ident, Duration, $default:literal) => {
        $crate::duration_of($crate::Unit::$unit.amount($default))
    };
    (@optional) => { None };
    (@optional $value:expr) => { Some($value) };
}

/// The README, so that its examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
