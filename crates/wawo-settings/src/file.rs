//! Settings from a file, by serde: a map of names to texts or whole numbers.

use std::{collections::HashSet, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

use crate::names::{Settable, set};

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
        while let Some((name, Text(text))) = map.next_entry::<String, Text>()? {
            set(&mut settings, &name, &text).map_err(A::Error::custom)?;
            if let Some(name) = seen.replace(name) {
                return Err(A::Error::custom(format_args!("{name} is set twice")));
            }
        }
        Ok(settings)
    }
}

/// The value of a setting, as text. Null, where a format has it, is `none`.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl Visitor<'_> for Scalar {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or a text")
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
        }

        deserializer.deserialize_any(Scalar)
    }
}
