//! Settings by their names: set one from a text, or several from variables of the environment.

use std::{ffi::OsStr, str::ParseBoolError};

use crate::error::ConfigError;

/// Settings that can be set by name.
pub trait Settable {
    /// The names of all settings, in the order of their table.
    fn names() -> Vec<&'static str>;

    /// Sets the setting `name`, which is one of [`names`](Self::names), from a text. An error names
    /// `key`, by which the user knows the setting.
    ///
    /// # Errors
    ///
    /// If the text is no value of the setting, or is out of its range.
    fn read(&mut self, name: &str, key: &str, text: &str) -> Result<(), ConfigError>;

    /// Whether the setting `name` is a list. Its text has commas between the items, and is `none` if there
    /// are no items. A file may have an array of texts instead.
    fn is_list(name: &str) -> bool {
        let _ = name;
        false
    }
}

/// Sets the setting `name` from a text.
///
/// # Errors
///
/// As [`Settable::read`], and if there is no such setting.
pub fn set<S: Settable>(settings: &mut S, name: &str, text: &str) -> Result<(), ConfigError> {
    let names = S::names();
    match names.contains(&name) {
        true => settings.read(name, name, text),
        false => Err(unknown::<S>(name)),
    }
}

/// Sets each setting that has a variable: `prefix` and its name in capitals. Variables without the
/// prefix are ignored, and so are those that begin with one of `others`, the prefixes of other
/// settings.
///
/// # Errors
///
/// As [`Settable::read`]; also if a variable with the prefix names no setting, or its value is not
/// in UTF-8.
pub fn set_from_variables<S: Settable, K: AsRef<OsStr>, V: AsRef<OsStr>>(
    settings: &mut S,
    prefix: &str,
    others: &[&str],
    variables: impl IntoIterator<Item = (K, V)>,
) -> Result<(), ConfigError> {
    let key_of = |name: &str| prefix.to_owned() + &name.to_ascii_uppercase();
    let names = S::names();
    for (key, value) in variables {
        // A key that is not in UTF-8 becomes a text that names no setting, so it is refused below
        // if it has the prefix.
        let key = key.as_ref().to_string_lossy();
        if !key.starts_with(prefix) || others.iter().any(|other| key.starts_with(other)) {
            continue;
        }
        let name = names.iter().find(|name| key_of(name) == key);
        let name = name.ok_or_else(|| nearest(&key, names.iter().map(|name| key_of(name))))?;
        settings.read(name, &key, text(&key, value.as_ref())?)?;
    }
    Ok(())
}

/// Reads a setting that is on or off. The error names `key`, by which the user knows the setting.
///
/// # Errors
///
/// If the text is neither `true` nor `false`.
pub fn switch(key: &str, text: &str) -> Result<bool, ConfigError> {
    let is_on = text.trim().parse();
    is_on.map_err(|_: ParseBoolError| ConfigError::Unreadable {
        setting: key.to_owned(),
        value: text.to_owned(),
        expected: "true or false".to_owned(),
    })
}

/// Checks that each variable with one of several prefixes names a setting; of the prefixes, longer ones
/// stand before those that they begin with. A wrong name is compared with the settings of all prefixes, so
/// the error finds one whose prefix alone is wrong.
///
/// # Errors
///
/// If a variable with a prefix names no setting.
pub fn check_variables<K: AsRef<OsStr>>(
    kinds: &[(&str, Vec<&'static str>)],
    keys: impl IntoIterator<Item = K>,
) -> Result<(), ConfigError> {
    for key in keys {
        let key = key.as_ref().to_string_lossy();
        let parts = |(prefix, names)| Some((key.strip_prefix(prefix)?, names));
        let Some((name, names)) = kinds.iter().map(|(p, n)| (*p, n)).find_map(parts) else {
            continue;
        };
        let name = name.to_ascii_lowercase();
        if names.contains(&&*name) && key == key.to_ascii_uppercase() {
            continue;
        }
        let all = kinds
            .iter()
            .flat_map(|(prefix, names)| names.iter().map(move |name| (prefix, name)));
        let nearest = most_similar(&name, all, |(_, known)| known);
        return Err(ConfigError::Unknown {
            setting: key.into_owned(),
            nearest: nearest.map(|(prefix, name)| format!("{prefix}{}", name.to_ascii_uppercase())),
        });
    }
    Ok(())
}

fn text<'a>(key: &str, value: &'a OsStr) -> Result<&'a str, ConfigError> {
    value.to_str().ok_or_else(|| ConfigError::NotUtf8 {
        setting: key.to_owned(),
    })
}

/// The error of a name that no setting has.
pub(super) fn unknown<S: Settable>(name: &str) -> ConfigError {
    nearest(name, S::names().into_iter().map(str::to_owned))
}

fn nearest(key: &str, names: impl Iterator<Item = String>) -> ConfigError {
    ConfigError::Unknown {
        setting: key.to_owned(),
        nearest: most_similar(key, names, |name| name),
    }
}

/// The item whose name is the most similar to a key. `None` if more than half of that name would have to
/// change: then it is no help.
fn most_similar<T>(
    key: &str,
    items: impl Iterator<Item = T>,
    name: impl Fn(&T) -> &str,
) -> Option<T> {
    let with_distance = items.map(|item| (distance(key, name(&item)), item));
    let (distance, item) = with_distance.min_by_key(|(distance, _)| *distance)?;
    (distance <= name(&item).len() / 2).then_some(item)
}

/// The most bytes of a key that are compared: the names of settings are shorter, but a key may have
/// any length.
const MAX_COMPARED_BYTES: usize = 64;

/// The number of bytes that must be added, removed or changed to turn one name into the other
/// (Levenshtein), not counting upper and lower case.
fn distance(from: &str, to: &str) -> usize {
    let from = &from.as_bytes()[..from.len().min(MAX_COMPARED_BYTES)];
    let mut costs: Vec<usize> = (0..=to.len()).collect();
    for (row, left) in from.iter().enumerate() {
        let mut diagonal = costs[0];
        costs[0] = row + 1;
        for (column, right) in to.bytes().enumerate() {
            let change = diagonal + usize::from(!left.eq_ignore_ascii_case(&right));
            diagonal = costs[column + 1];
            costs[column + 1] = change.min(diagonal + 1).min(costs[column] + 1);
        }
    }
    costs[to.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn the_distance_of_names_counts_their_changes() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("max_cals", "max_calls", 1),
            ("max_calls", "max_calls", 0),
            ("min_calls", "max_calls", 2),
            ("kitten", "sitting", 3),
            ("WAWO", "wawa", 1),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
        assert_eq!(distance(&"é".repeat(1_000_000), ""), 64);
    }
}
