//! The numbers of the calls that this side makes.

use std::collections::HashMap;

use wawo_protocol::{CallId, MethodId, ServiceId};

/// The calls of the driver in flight, by their numbers in the other end's protocol.
///
/// Numbers go up and begin again at 1, so that each is used again as late as possible: the other end may
/// still reply to a call that was cancelled long ago.
#[derive(Debug)]
pub(crate) struct CallNumbers {
    calls: HashMap<u32, NumberedCall>,
    numbers: HashMap<CallId, u32>,
    last: u32,
    highest: u32,
    /// The largest number; the smallest is 1.
    pub(crate) max_call_number: u32,
}

/// A call of the driver.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberedCall {
    pub(crate) id: CallId,
    pub(crate) service: ServiceId,
    pub(crate) method: MethodId,
}

impl CallNumbers {
    /// Gives a call its number; `None` if all numbers are in flight.
    pub(crate) fn begin(&mut self, call: NumberedCall) -> Option<u32> {
        if self.calls.len() >= self.max_call_number as usize {
            return None;
        }
        loop {
            self.last = self.last % self.max_call_number + 1;
            if !self.calls.contains_key(&self.last) {
                break;
            }
        }
        self.highest = self.highest.max(self.last);
        self.calls.insert(self.last, call);
        self.numbers.insert(call.id, self.last);
        Some(self.last)
    }

    /// Removes a call that has got its reply. `None` if it is not in flight.
    pub(crate) fn end(&mut self, number: u32) -> Option<NumberedCall> {
        let call = self.calls.remove(&number)?;
        self.numbers.remove(&call.id);
        Some(call)
    }

    /// Removes a call that the driver has cancelled. `None` if it is not in flight.
    pub(crate) fn cancel(&mut self, id: CallId) -> Option<(u32, NumberedCall)> {
        let number = self.numbers.remove(&id)?;
        Some((number, self.calls.remove(&number)?))
    }

    /// Whether a call has ever had this number, so that a reply to it may be a late one.
    pub(crate) fn was_used(&self, number: u32) -> bool {
        (1..=self.highest).contains(&number)
    }
}

impl Default for CallNumbers {
    fn default() -> Self {
        Self {
            calls: HashMap::new(),
            numbers: HashMap::new(),
            last: 0,
            highest: 0,
            max_call_number: u32::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use wawo_protocol::{CallId, MethodId, ServiceId, Side};

    use super::{CallNumbers, NumberedCall};

    fn call(index: u32) -> NumberedCall {
        NumberedCall {
            id: CallId::new(Side::Connecting, index),
            service: ServiceId(7),
            method: MethodId(1),
        }
    }

    #[test]
    fn numbers_go_around_and_leave_out_those_in_flight() {
        let mut outgoing = CallNumbers {
            max_call_number: 3,
            ..CallNumbers::default()
        };
        let numbers: Vec<_> = (0..4).map(|index| outgoing.begin(call(index))).collect();
        assert_eq!(numbers, [Some(1), Some(2), Some(3), None]);
        assert_eq!(outgoing.end(3).unwrap().id, call(2).id);
        assert!(outgoing.end(3).is_none());
        assert_eq!(outgoing.cancel(call(1).id).unwrap().0, 2);
        assert_eq!(outgoing.begin(call(1)), Some(2));
        assert_eq!(outgoing.begin(call(2)), Some(3));
    }

    #[test]
    fn the_largest_number_is_followed_by_the_first() {
        let mut outgoing = CallNumbers {
            last: u32::MAX - 1,
            ..CallNumbers::default()
        };
        assert_eq!(outgoing.begin(call(0)), Some(u32::MAX));
        assert_eq!(outgoing.begin(call(1)), Some(1));
        assert!(outgoing.was_used(12345));
        assert!(!outgoing.was_used(0));
    }
}
