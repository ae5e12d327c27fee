//! Settings from a file, by serde: a map of names to texts, whole numbers, switches or arrays of texts.

use std::{collections::HashSet, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Unexpected, Visitor},
};

use crate::names::{Settable, set, unknown};

/// Reads a map into settings. Those that the map does not name keep their defaults.
///
/// # Errors
///
/// If a name is that of no setting, a name comes twice, or a value is no value of its setting.
pub fn deserialize<'de, S, D>(deserializer: D) -> Result<S, D::Error>
where
    S: Settable + Default,
    D: Deserializer<'de>,
{
    deserializer.deserialize_map(MapVisitor(PhantomData))
}

/// Visits a map of names and values.
struct MapVisitor<S>(PhantomData<S>);

impl<'de, S: Settable + Default> Visitor<'de> for MapVisitor<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<S, A::Error> {
        let (mut settings, mut seen) = (S::default(), HashSet::new());
        while let Some(name) = map.next_key_seed(Name::<S>(PhantomData))? {
            if seen.contains(&name) {
                return Err(A::Error::custom(format_args!("{name} is set twice")));
            }
            map.next_value_seed(Value {
                settings: &mut settings,
                name: &name,
            })?;
            seen.insert(name);
        }
        Ok(settings)
    }
}

/// Reads the name of a setting. An error of a name arises while the name is read, and one of a value while
/// the value is read: so a format that knows places, such as TOML, names the right one, and does not print
/// another line, which may hold credentials.
struct Name<S>(PhantomData<S>);

impl<'de, S: Settable> DeserializeSeed<'de> for Name<S> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let name = String::deserialize(deserializer)?;
        match S::names().contains(&&*name) {
            true => Ok(name),
            false => Err(D::Error::custom(unknown::<S>(&name))),
        }
    }
}

/// Reads the value of a setting, and sets it.
struct Value<'a, S> {
    settings: &'a mut S,
    name: &'a str,
}

impl<'de, S: Settable> DeserializeSeed<'de> for Value<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Text(text) = deserializer.deserialize_any(Scalar {
            name: self.name,
            is_list: S::is_list(self.name),
        })?;
        set(self.settings, self.name, &text).map_err(D::Error::custom)
    }
}

/// The value of a setting, as text; a list as its items with commas between them. Null, where a format has it, is `none`.
struct Text(String);

/// Visits the value of the setting with this name.
struct Scalar<'a> {
    name: &'a str,
    is_list: bool,
}

impl<'de> Visitor<'de> for Scalar<'_> {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_list {
            true => write!(f, "a text or an array of texts for {}", self.name),
            false => write!(f, "a whole number or a text for {}", self.name),
        }
    }

    fn visit_bool<E: Error>(self, is_on: bool) -> Result<Text, E> {
        Ok(Text(is_on.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Text, E> {
        Ok(Text("none".to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
        if !self.is_list {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        let mut texts = Vec::new();
        while let Some(text) = seq.next_element::<String>()? {
            texts.push(text);
        }
        Ok(Text(match texts.is_empty() {
            true => "none".to_owned(),
            false => texts.join(","),
        }))
    }
}
