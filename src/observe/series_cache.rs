//! Finds the series of a method without a lock.

use std::{ptr, sync::OnceLock};

use crate::{call_side::CallSide, descriptor::MethodDescriptor, metrics::Series};

/// The number of places. Generated descriptors are few, and each needs one for each side and protocol.
const PLACES: usize = 256;

/// How many places a descriptor may have.
const PROBES: usize = 4;

/// The series of generated descriptors, which live as long as the program: so their addresses name them.
/// Others, and those for which there is no place, are looked up each time.
#[derive(Debug)]
pub(super) struct SeriesCache(Box<[OnceLock<Place>; PLACES]>);

#[derive(Debug)]
struct Place {
    /// The address of the descriptor, with the side in its lowest bit.
    key: usize,
    protocol: &'static str,
    series: Series,
}

impl Default for SeriesCache {
    fn default() -> Self {
        Self(Box::new([const { OnceLock::new() }; PLACES]))
    }
}

impl SeriesCache {
    /// The series of a method; `find` looks it up.
    #[inline]
    pub(super) fn find(
        &self,
        side: CallSide,
        protocol: &'static str,
        method: Option<&MethodDescriptor>,
        find: impl FnOnce() -> Series,
    ) -> Series {
        let Some(address) = method.and_then(MethodDescriptor::static_address) else {
            return find();
        };
        // Addresses are even, so the lowest bit is free for the side.
        let key = address | usize::from(side == CallSide::Client);
        let first = key.wrapping_mul(0x9e37_79b9) >> 12;
        if let Some(place) = self.0[first % PLACES].get()
            && place.key == key
            && ptr::eq(place.protocol, protocol)
        {
            return place.series;
        }
        self.find_from(first, key, protocol, find)
    }

    #[inline(never)]
    fn find_from(
        &self,
        first: usize,
        key: usize,
        protocol: &'static str,
        find: impl FnOnce() -> Series,
    ) -> Series {
        for probe in 0..PROBES {
            let place = &self.0[(first + probe) % PLACES];
            match place.get() {
                // A text that stands twice in the program takes two places.
                Some(place) if place.key == key && ptr::eq(place.protocol, protocol) => {
                    return place.series;
                }
                Some(_) => {}
                None => {
                    let series = find();
                    let _ = place.set(Place {
                        key,
                        protocol,
                        series,
                    });
                    return series;
                }
            }
        }
        find()
    }
}

#[cfg(test)]
mod tests {
    use super::{CallSide, MethodDescriptor, SeriesCache};
    use crate::{
        descriptor::{Idempotency, MethodTexts, Shape},
        metrics::Metrics,
    };

    static TEXTS: MethodTexts<&str> = MethodTexts::new("a.B/C", "", "");
    static METHOD: MethodDescriptor =
        MethodDescriptor::new(&TEXTS, 1, 1, Shape::Unary, Idempotency::Unknown);

    #[test]
    fn each_side_and_each_protocol_of_a_method_has_a_series() {
        let (cache, metrics) = (SeriesCache::default(), Metrics::new());
        let find = |side, protocol| {
            let find = || metrics.series(side, protocol, Some(&METHOD));
            cache.find(side, protocol, Some(&METHOD), find)
        };
        let all = [
            find(CallSide::Server, "wawo"),
            find(CallSide::Client, "wawo"),
            find(CallSide::Server, "grpc"),
        ];
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
        assert_eq!(find(CallSide::Server, "wawo"), all[0]);
        assert_eq!(find(CallSide::Server, "grpc"), all[2]);
    }
}
