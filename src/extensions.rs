//! Values by type, which layers leave for handlers.

use std::{
    any::{Any, TypeId},
    fmt,
};

/// At most one value of each type. An empty one allocates nothing.
///
/// An authentication layer inserts the user, and a handler reads it:
/// [`Request::extensions_mut`](crate::Request::extensions_mut),
/// [`Context::extension`](crate::Context::extension).
#[derive(Default)]
pub struct Extensions {
    /// A list, since a call has few values, and a short list is searched faster than a map. It is boxed,
    /// because most calls have none and are moved often.
    #[allow(clippy::box_collection, reason = "a vector is three times as large")]
    values: Option<Box<Vec<Value>>>,
}

type Value = (TypeId, Box<dyn Any + Send + Sync>);

impl Extensions {
    /// Inserts a value; returns the one of its type that was there.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) -> Option<T> {
        let before = self.remove::<T>();
        self.values
            .get_or_insert_default()
            .push((TypeId::of::<T>(), Box::new(value)));
        before
    }

    /// The value of this type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let mut values = self.values.as_ref()?.iter();
        let (_, value) = values.find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    }

    /// Removes the value of this type, and returns it.
    pub fn remove<T: Send + Sync + 'static>(&mut self) -> Option<T> {
        let values = self.values.as_mut()?;
        let index = values.iter().position(|(id, _)| *id == TypeId::of::<T>())?;
        let (_, value) = values.swap_remove(index);
        value.downcast().ok().map(|value| *value)
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.as_ref().map_or(0, |values| values.len());
        write!(f, "Extensions({values} values)")
    }
}

#[cfg(test)]
mod tests {
    use super::Extensions;

    #[test]
    fn there_is_one_value_of_each_type() {
        let mut extensions = Extensions::default();
        assert_eq!(extensions.insert(1_u8), None);
        assert_eq!(extensions.insert("text"), None);
        assert_eq!(extensions.insert(2_u8), Some(1));
        assert_eq!(extensions.get::<u8>(), Some(&2));
        assert_eq!(extensions.remove::<&str>(), Some("text"));
        assert_eq!(extensions.get::<&str>(), None);
    }
}
