//! The deadlines of a connection's calls, which the backstop checks in case the driver is blocked.

use std::{
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use wawo_protocol::CallId;

use crate::{
    backstop::SLACK,
    connection::inbox::Inbox,
    response_future::ResponseSlot,
    status::{Delivery, Status},
};

/// The calls with deadlines that were given to the driver, for the [`backstop`](crate::backstop).
///
/// The driver adds each call when it starts it. The end of a call changes nothing here, so it costs
/// nothing: the entry stays until the call's index is used again, or until the next scan. The slot of an
/// ended call is then used for a new call. To free slots this late, many at once, would cost more in the
/// allocator than the rest of the watch.
#[derive(Debug, Default)]
pub(crate) struct DeadlineWatch {
    /// Whether a look was asked for and has not begun.
    pub(crate) is_asked: bool,
    /// Calls in flight, by the index of the call.
    in_flight: Vec<Option<WatchedDeadline>>,
    /// Calls that waited for the other side's limits when they were started, and so had no index.
    waiting: Vec<WatchedDeadline>,
    /// The length of `waiting` after the last scan.
    waiting_kept: usize,
    /// Slots that nobody else holds any more.
    free_slots: Vec<Arc<ResponseSlot>>,
    /// A lower bound of all deadlines here.
    earliest: Option<Instant>,
    /// The time of the next scan, if the backstop was told of one.
    scan_at: Option<Instant>,
}

/// The deadline of a call, and the receiver of its end.
#[derive(Debug)]
struct WatchedDeadline {
    at: Instant,
    waiter: Waiter,
}

#[derive(Debug)]
enum Waiter {
    Reply(Arc<ResponseSlot>),
    /// The reader of a stream of replies.
    Replies(Arc<Inbox>),
}

/// A call that the driver has started; without an id if it waits for the other side's limits.
#[derive(Debug)]
pub(crate) struct WatchedCall {
    pub(crate) call: Option<CallId>,
    pub(crate) deadline: Instant,
    pub(crate) slot: Arc<ResponseSlot>,
}

/// How many free slots a connection keeps for its next calls, at most.
const MAX_FREE_SLOTS: usize = 256;

/// Entries of ended calls are removed after this time at the latest.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);

/// With at most this many entries, each look checks all of them.
const FEW_ENTRIES: usize = 16;

/// Entries of ended calls in `waiting` are removed when it has this many entries more than twice those
/// that the last removal left. So a removal looks at few entries for each one that was added.
const MAX_ENDED_WAITING: usize = 64;

impl DeadlineWatch {
    /// A slot for a call that is about to be made.
    pub(crate) fn slot(&mut self) -> Arc<ResponseSlot> {
        self.free_slots.pop().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, call: WatchedCall) {
        let WatchedCall {
            call,
            deadline: at,
            slot,
        } = call;
        if self.earliest.is_none_or(|earliest| at < earliest) {
            self.earliest = Some(at);
        }
        let waiter = Waiter::Reply(slot);
        let due = WatchedDeadline { at, waiter };
        let Some(index) = call.map(CallId::index) else {
            return self.add_waiting(due);
        };
        if index >= self.in_flight.len() {
            self.in_flight.resize_with(index + 1, || None);
        }
        let before = self.in_flight[index].replace(due);
        if let Some(before) = before
            && let Waiter::Reply(mut slot) = before.waiter
            && self.free_slots.len() < MAX_FREE_SLOTS
            && let Some(free) = Arc::get_mut(&mut slot)
        {
            free.reset();
            self.free_slots.push(slot);
        }
    }

    #[cold]
    fn add_waiting(&mut self, due: WatchedDeadline) {
        if self.waiting.len() >= 2 * self.waiting_kept + MAX_ENDED_WAITING {
            self.waiting.retain(|due| !due.waiter.is_over());
            self.waiting_kept = self.waiting.len();
        }
        self.waiting.push(due);
    }

    /// Records that the reply to a call is a stream: from now on its reader receives the end of the call.
    pub(crate) fn replied(&mut self, call: CallId, slot: &Arc<ResponseSlot>, replies: &Arc<Inbox>) {
        let is_it = |due: &&mut WatchedDeadline| matches!(&due.waiter, Waiter::Reply(it) if Arc::ptr_eq(it, slot));
        let in_flight = self.in_flight.get_mut(call.index());
        let in_flight = in_flight.and_then(Option::as_mut).filter(is_it);
        if let Some(due) = in_flight.or_else(|| self.waiting.iter_mut().find(is_it)) {
            due.waiter = Waiter::Replies(replies.clone());
        }
    }

    /// Ends calls whose deadlines have passed. `earliest_queued` is the earliest deadline among calls
    /// that the driver has not taken. Returns when to look again, unless the backstop knows that time
    /// already.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        earliest_queued: Option<Instant>,
        wakers: &mut Vec<Waker>,
    ) -> Option<Instant> {
        let is_due = self.scan_at.is_some_and(|at| at <= now);
        if is_due {
            self.scan_at = None;
        }
        if is_due || self.in_flight.len() + self.waiting.len() <= FEW_ENTRIES {
            self.scan(now, wakers);
        }
        let is_empty = self.in_flight.is_empty() && self.waiting.is_empty();
        let late = |at: Instant| at.checked_add(SLACK);
        let next = [
            self.earliest.and_then(late),
            earliest_queued.and_then(late),
            (!is_empty).then(|| now + SCAN_INTERVAL),
        ];
        let next = next.into_iter().flatten().min()?;
        if self.scan_at.is_some_and(|at| at <= next) {
            return None;
        }
        self.scan_at = Some(next);
        Some(next)
    }

    /// Ends calls whose deadlines have passed, and removes those that have ended.
    fn scan(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        let mut earliest: Option<Instant> = None;
        let mut keeps = |due: &WatchedDeadline| {
            if is_overdue(due.at, now) {
                wakers.extend(due.waiter.expire());
                return false;
            }
            let keeps = !due.waiter.is_over();
            if keeps {
                earliest = Some(earliest.map_or(due.at, |earliest| earliest.min(due.at)));
            }
            keeps
        };
        for place in &mut self.in_flight {
            place.take_if(|due| !keeps(due));
        }
        self.waiting.retain(&mut keeps);
        self.waiting_kept = self.waiting.len();
        self.earliest = earliest;
        if self.in_flight.iter().all(Option::is_none) {
            self.in_flight = Vec::new();
            self.free_slots = Vec::new();
        }
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
    }
}

/// Whether the deadline passed so long ago that the driver has failed to end the call.
pub(crate) fn is_overdue(deadline: Instant, now: Instant) -> bool {
    now.saturating_duration_since(deadline) >= SLACK
}

impl Waiter {
    fn is_over(&self) -> bool {
        match self {
            Self::Reply(slot) => slot.is_over(),
            Self::Replies(inbox) => inbox.is_ended(),
        }
    }

    fn expire(&self) -> Option<Waker> {
        match self {
            Self::Reply(slot) => slot.complete(Err(late_status("no reply before the deadline"))),
            Self::Replies(inbox) => inbox.end(Err(late_status(
                "the replies had not ended before the deadline",
            ))),
        }
    }
}

/// The status of a call that the backstop ends, because its driver did not at the deadline.
fn late_status(text: &str) -> Status {
    let text = format!(
        "{text}; the task of its connection has not run since then: a handler blocks its thread, \
         or its runtime is busy or not running"
    );
    Status::deadline_exceeded(text).with_delivery(Delivery::Unknown)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    use wawo_protocol::{CallId, Code, Side};

    use super::{
        DeadlineWatch, FEW_ENTRIES, MAX_ENDED_WAITING, MAX_FREE_SLOTS, SCAN_INTERVAL, SLACK,
        WatchedCall,
    };
    use crate::{
        connection::inbox::Inbox,
        response_future::{Canceller, ResponseFuture, ResponseSlot},
        status::{Delivery, Status},
    };

    struct Nobody;

    impl Canceller for Nobody {
        fn cancel(&self, _: &Arc<ResponseSlot>) {}
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn call(index: u32) -> CallId {
        CallId::new(Side::Connecting, index)
    }

    fn add(
        watch: &mut DeadlineWatch,
        call: Option<CallId>,
        deadline: Instant,
    ) -> Arc<ResponseSlot> {
        let slot = Arc::new(ResponseSlot::default());
        watch.add(WatchedCall {
            call,
            deadline,
            slot: slot.clone(),
        });
        slot
    }

    fn end(slot: &ResponseSlot) {
        slot.complete(Err(Status::aborted("over")));
    }

    #[tokio::test]
    async fn a_call_ends_behind_its_deadline_and_not_before() {
        let (mut watch, now, mut wakers) = (DeadlineWatch::default(), Instant::now(), Vec::new());
        let soon = add(&mut watch, Some(call(0)), now + SECOND / 2);
        let late = add(&mut watch, None, now + 2 * SECOND);
        let next = now + SECOND / 2 + SLACK;
        assert_eq!(watch.look(now, None, &mut wakers), Some(next));
        let before = next - Duration::from_millis(1);
        assert_eq!(watch.look(before, None, &mut wakers), None);
        assert!(!soon.is_over());
        assert!(watch.look(next, None, &mut wakers).is_some());
        let status = ResponseFuture::from_slot(soon, Arc::new(Nobody)).await;
        let status = status.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(status.delivery(), Delivery::Unknown);
        assert!(!late.is_over());
        watch.look(now + 2 * SECOND + SLACK, None, &mut wakers);
        assert!(late.is_over());
        assert!(watch.in_flight.is_empty() && watch.waiting.is_empty());
    }

    #[test]
    fn slots_that_nobody_has_are_used_again_as_new_and_bounded() {
        let (mut watch, far) = (DeadlineWatch::default(), Instant::now() + 1_000 * SECOND);
        for _ in 0..2 {
            for index in 0..2 * MAX_FREE_SLOTS as u32 {
                end(&add(&mut watch, Some(call(index)), far));
            }
        }
        assert_eq!(watch.free_slots.len(), MAX_FREE_SLOTS);
        let slot = watch.slot();
        assert!(!slot.is_over() && slot.call().is_none());
        // A scan of an idle connection frees all slots.
        watch.scan(Instant::now(), &mut Vec::new());
        assert_eq!(watch.free_slots.capacity(), 0);
    }

    #[test]
    fn the_reader_of_a_stream_is_told_in_place_of_the_call() {
        let (mut watch, now) = (DeadlineWatch::default(), Instant::now());
        for id in [Some(call(3)), None] {
            let slot = add(&mut watch, id, now);
            let inbox = Inbox::new(call(3), 0);
            watch.replied(call(3), &slot, &inbox);
            end(&slot);
            watch.look(now + SLACK, None, &mut Vec::new());
            assert!(inbox.is_ended());
        }
    }

    #[test]
    fn calls_that_ended_are_let_go_within_a_second() {
        let (mut watch, now) = (DeadlineWatch::default(), Instant::now());
        let far = now + 1_000 * SECOND;
        let calls =
            (0..FEW_ENTRIES as u32 + 1).map(|index| add(&mut watch, Some(call(index)), far));
        let calls: Vec<_> = calls.collect();
        let next = watch.look(now, None, &mut Vec::new());
        assert_eq!(next, Some(now + SCAN_INTERVAL));
        calls.iter().for_each(|slot| end(slot));
        assert_eq!(watch.look(now + SCAN_INTERVAL, None, &mut Vec::new()), None);
        assert_eq!(watch.in_flight.capacity(), 0);
        assert!(calls.iter().all(|slot| Arc::strong_count(slot) == 1));
    }

    #[test]
    fn calls_that_waited_and_ended_are_bounded_by_those_that_wait() {
        let (mut watch, far) = (DeadlineWatch::default(), Instant::now() + 1_000 * SECOND);
        let _waiting: Vec<_> = (0..1_000).map(|_| add(&mut watch, None, far)).collect();
        for _ in 0..100_000 {
            let slot = add(&mut watch, None, far);
            end(&slot);
        }
        assert!(watch.waiting.len() <= 2 * 1_000 + MAX_ENDED_WAITING);
    }

    #[test]
    fn a_call_leaves_its_index_to_the_next() {
        let (mut watch, now) = (DeadlineWatch::default(), Instant::now());
        let first = add(&mut watch, Some(call(0)), now);
        end(&first);
        let second = add(&mut watch, Some(call(0)), now);
        assert_eq!(Arc::strong_count(&first), 1);
        assert!(watch.free_slots.is_empty(), "somebody has it");
        // A late reply to the first call is not taken for a reply to the second, which has the same id.
        watch.replied(call(0), &first, &Inbox::new(call(0), 0));
        watch.look(now + SLACK, None, &mut Vec::new());
        assert!(second.is_over());
    }
}
