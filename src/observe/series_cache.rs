//! Finds the series of a method without a lock.

use std::sync::OnceLock;

use crate::{call_side::CallSide, descriptor::MethodDescriptor, metrics::Series};

/// The number of places. Generated descriptors are few, and each needs one for each side.
const PLACES: usize = 256;

/// How many places a descriptor may have.
const PROBES: usize = 4;

/// The series of generated descriptors, which live as long as the program: so their addresses name them.
/// Others, and those for which there is no place, are looked up each time.
#[derive(Debug)]
pub(super) struct SeriesCache(Box<[OnceLock<(usize, Series)>]>);

impl Default for SeriesCache {
    fn default() -> Self {
        Self((0..PLACES).map(|_| OnceLock::new()).collect())
    }
}

impl SeriesCache {
    /// The series of a method; `find` looks it up.
    #[inline]
    pub(super) fn find(
        &self,
        side: CallSide,
        method: Option<&MethodDescriptor>,
        find: impl FnOnce() -> Series,
    ) -> Series {
        let Some(address) = method.and_then(MethodDescriptor::static_address) else {
            return find();
        };
        // Addresses are even, so the lowest bit is free for the side.
        let key = address | usize::from(side == CallSide::Client);
        let first = key.wrapping_mul(0x9e37_79b9) >> 12;
        for probe in 0..PROBES {
            let place = &self.0[(first + probe) % PLACES];
            match place.get() {
                Some((other, series)) if *other == key => return *series,
                Some(_) => {}
                None => {
                    let found = find();
                    let _ = place.set((key, found));
                    return found;
                }
            }
        }
        find()
    }
}
