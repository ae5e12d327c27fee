//! An identity, whose type is the application's.

use std::{any::Any, fmt, sync::Arc};

/// The proven identity of a caller: a value of a type of the application, such as a user with roles. Cheap
/// to clone.
///
/// Most programs never name it: an authenticator returns the value itself, and handlers read it by
/// [`Context::identity`](crate::Context::identity). Other protocols pass it on, from
/// [`Gateway::authenticate`](crate::Gateway::authenticate) to a [`Guest`](crate::Guest) or a call. `Debug`
/// does not print the value.
#[derive(Clone)]
pub struct Identity(Arc<dyn Any + Send + Sync>);

impl Identity {
    /// Wraps a value. An identity stays the same.
    pub fn new<U: Send + Sync + 'static>(user: U) -> Self {
        let user: Arc<dyn Any + Send + Sync> = Arc::new(user);
        match user.downcast::<Self>() {
            Ok(identity) => Self::clone(&identity),
            Err(user) => Self(user),
        }
    }

    /// The value, if it has this type.
    pub fn get<U: Send + Sync + 'static>(&self) -> Option<&U> {
        self.0.downcast_ref()
    }

    /// The value, to be kept, if it has this type.
    pub fn to_shared<U: Send + Sync + 'static>(&self) -> Option<Arc<U>> {
        self.0.clone().downcast().ok()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::Identity;

    #[test]
    fn an_identity_has_one_type_and_wraps_no_other_identity() {
        let identity = Identity::new(Identity::new("ada"));
        assert_eq!(identity.get::<&str>(), Some(&"ada"));
        assert_eq!(identity.to_shared::<&str>().as_deref(), Some(&"ada"));
        assert_eq!(identity.get::<String>(), None);
        assert_eq!(format!("{identity:?}"), "Identity(..)");
    }
}
