//! Values that an application keeps for a peer.

use std::{
    any::{Any, TypeId},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Values that an application keeps for a peer, at most one of each type: the user that has logged in, a
/// rate counter, a list of rooms. From [`Peer::extensions`](crate::Peer::extensions).
///
/// All clones of a peer share them. They are bounded by the types of the program, and are dropped with the
/// last clone of the peer: on the side that accepted, not before its connection is over. A value that holds
/// its own [`Peer`](crate::Peer) would keep the connection open for ever; hold a
/// [`WeakPeer`](crate::WeakPeer).
///
/// ```
/// # use std::sync::atomic::{AtomicU32, Ordering};
/// #[derive(Default)]
/// struct Logins(AtomicU32);
///
/// # async fn login(cx: wawo::Context) {
/// let logins = cx.peer().extensions().get_or_insert_with(Logins::default);
/// logins.0.fetch_add(1, Ordering::Relaxed);
/// # }
/// ```
#[derive(Default)]
pub struct PeerExtensions {
    /// A list, since a peer has few values, and a short list is searched faster than a map.
    values: Mutex<Vec<(TypeId, Value)>>,
}

type Value = Arc<dyn Any + Send + Sync>;

impl PeerExtensions {
    /// The value of this type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let value = find::<T>(&self.lock())?;
        value.downcast().ok()
    }

    /// The value of this type. If there is none, `make` makes it.
    ///
    /// No lock is held while `make` runs: if two callers make a value at the same time, the first is
    /// kept, and both get that one.
    pub fn get_or_insert_with<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        if let Some(value) = self.get() {
            return value;
        }
        // `make` runs without the lock, because it may ask for other values.
        let made = Arc::new(make());
        let mut values = self.lock();
        match find::<T>(&values).and_then(|value| value.downcast().ok()) {
            Some(first) => first,
            None => {
                values.push((TypeId::of::<T>(), made.clone()));
                made
            }
        }
    }

    /// Inserts a value; returns the one of its type that was there. Callers that hold the old value keep
    /// it.
    pub fn insert<T: Send + Sync + 'static>(&self, value: T) -> Option<Arc<T>> {
        let mut values = self.lock();
        let before = take::<T>(&mut values);
        values.push((TypeId::of::<T>(), Arc::new(value)));
        before.and_then(|before| before.downcast().ok())
    }

    /// Removes the value of this type. Callers that hold it keep it.
    pub fn remove<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let removed = take::<T>(&mut self.lock());
        removed?.downcast().ok()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(TypeId, Value)>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn position<T: 'static>(values: &[(TypeId, Value)]) -> Option<usize> {
    values.iter().position(|(id, _)| *id == TypeId::of::<T>())
}

fn find<T: 'static>(values: &[(TypeId, Value)]) -> Option<Value> {
    position::<T>(values).map(|at| values[at].1.clone())
}

fn take<T: 'static>(values: &mut Vec<(TypeId, Value)>) -> Option<Value> {
    position::<T>(values).map(|at| values.swap_remove(at).1)
}

impl fmt::Debug for PeerExtensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerExtensions({} values)", self.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::PeerExtensions;

    #[test]
    fn there_is_one_value_of_each_type_and_all_share_it() {
        let extensions = PeerExtensions::default();
        assert_eq!(extensions.get::<u8>(), None);
        let first = extensions.get_or_insert_with(|| 1_u8);
        let again = extensions.get_or_insert_with(|| 2_u8);
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(*extensions.get_or_insert_with(|| "text"), "text");
        assert_eq!(extensions.insert(3_u8).as_deref(), Some(&1));
        assert_eq!(extensions.get::<u8>().as_deref(), Some(&3));
        assert_eq!(extensions.remove::<u8>().as_deref(), Some(&3));
        assert_eq!(extensions.remove::<u8>(), None);
        assert_eq!(extensions.get::<&str>().as_deref(), Some(&"text"));
    }

    #[test]
    fn making_a_value_may_ask_for_others_and_the_first_is_kept() {
        let extensions = PeerExtensions::default();
        let outer = extensions.get_or_insert_with(|| {
            let inner = *extensions.get_or_insert_with(|| 1_u8);
            u16::from(inner) + 1
        });
        assert_eq!(*outer, 2);
        let late = extensions.get_or_insert_with(|| {
            extensions.get_or_insert_with(|| 5_u32);
            6_u32
        });
        assert_eq!(*late, 5);
    }

    #[test]
    fn values_are_dropped_with_the_extensions() {
        let extensions = PeerExtensions::default();
        let value = extensions.get_or_insert_with(|| Arc::new(()));
        let held = Arc::downgrade(&value);
        drop(value);
        assert!(held.upgrade().is_some());
        drop(extensions);
        assert!(held.upgrade().is_none());
    }
}
