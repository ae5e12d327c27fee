//! The errors of wrong settings.

use std::fmt;

use thiserror::Error;

/// The reason why settings make no valid configuration. Each error names the setting, or the
/// variable or key that it was read from, its value, and the valid values.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A setting is below its least or above its greatest value. Less would break a guarantee to
    /// peers, or would end each call or connection at once; more would not fit.
    #[error("{setting} is {value}; it must be {range}")]
    OutOfRange {
        /// The setting, or the variable that it was read from.
        setting: String,
        /// Its value.
        value: String,
        /// The values that it may have.
        range: String,
    },
    /// A text is no value of its setting.
    #[error("{setting} is `{value}`; write {expected}")]
    Unreadable {
        /// The setting, or the variable that it was read from.
        setting: String,
        /// The text.
        value: String,
        /// How a value is written.
        expected: String,
    },
    /// The value of a variable is not in UTF-8. It is not shown, as it may be a secret.
    #[error("{setting} is not in UTF-8")]
    NotUtf8 {
        /// The variable.
        setting: String,
    },
    /// There is no setting of this name.
    #[error("{setting} is no setting{}", hint(nearest.as_deref()))]
    Unknown {
        /// The name, or the variable.
        setting: String,
        /// The most similar name, if one is similar.
        nearest: Option<String>,
    },
    /// Two settings do not agree, where one bounds the other.
    #[error("{setting} is {value}; with {other} it {range}")]
    Disagreement {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The other settings with their values.
        other: String,
        /// The values that the setting may have beside the others, such as `may be at most 1024`.
        range: String,
    },
    /// A setting that is a text or bytes is too long.
    #[error("{setting} has {length} bytes; it must have at most {most}")]
    TooLong {
        /// The setting.
        setting: &'static str,
        /// Its length, in bytes.
        length: usize,
        /// The greatest length, in bytes.
        most: usize,
    },
}

/// As `Display`: a `main` that returns the error prints it by `Debug`.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ConfigError {
    /// Two settings that do not agree.
    pub fn disagreement(
        setting: &'static str,
        value: impl ToString,
        other: String,
        range: String,
    ) -> Self {
        Self::Disagreement {
            setting,
            value: value.to_string(),
            other,
            range,
        }
    }
}

/// The end of the text of an unknown name.
fn hint(nearest: Option<&str>) -> String {
    let hint = |name| format!("; the nearest one is {name}");
    nearest.map(hint).unwrap_or_default()
}
