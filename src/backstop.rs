//! The backstop: one thread for the process, outside of every runtime, which ends calls that their
//! drivers do not.
//!
//! A driver keeps the deadlines of its calls. But it may be stuck: in a handler that blocks its thread,
//! or because its runtime is busy or is not polled. Its callers may run all the same, in other threads or
//! in the blocking handler itself, and must not wait for ever. So this thread looks at connections with
//! calls, some time after each deadline, and ends the calls that the driver should have ended.
//!
//! ```text
//!   a call is left in a mailbox ──► watch: within TICK, a look at the mailbox
//!   a look                      ──► when to look again: SLACK behind the next deadline
//!   an Alarm                    ──► its waker, at its time
//! ```
//!
//! It starts with the first call, and sleeps without a timer while it has no work. It keeps no connection
//! open. It counts in real time: where tokio's clock is paused, it ends nothing (see
//! [`Clock`](crate::clock::Clock)).

mod alarm;
mod alarm_waker;

use std::{
    collections::BTreeMap,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::Waker,
    thread,
    time::{Duration, Instant},
};

pub(crate) use crate::backstop::alarm::{Timer, timeout_at};
use crate::backstop::alarm_waker::AlarmWaker;

/// How long after a new call its connection is looked at. Many calls share one look, so that the thread
/// wakes at most 50 times a second for them.
const TICK: Duration = Duration::from_millis(20);

/// How long after the deadline of a call its driver may still end it. A driver looks at deadlines in
/// steps of 5 ms. Together with two ticks, a call ends within 100 ms after its deadline.
pub(crate) const SLACK: Duration = Duration::from_millis(40);

/// An owner of calls with deadlines, which the backstop looks at.
pub(crate) trait WatchTarget: Send + Sync {
    /// Ends the calls whose deadlines passed [`SLACK`] ago, and adds the wakers of the tasks that wait
    /// for them. Returns when to look again, unless an earlier look has returned that time.
    fn look(&self, wakers: &mut Vec<Waker>) -> Option<Instant>;
}

/// Looks at this soon, without keeping it alive. Returns `false` if that is not possible: see
/// [`Backstop::start`].
pub(crate) fn watch(watched: Weak<dyn WatchTarget>) -> bool {
    let mut queue = BACKSTOP.lock();
    if !BACKSTOP.start(&mut queue) {
        return false;
    }
    let is_first = queue.soon.is_empty();
    queue.soon.push(watched);
    if is_first {
        queue.soon_at = Some(Instant::now() + TICK);
        drop(queue);
        BACKSTOP.changed.notify_one();
    }
    true
}

static BACKSTOP: Backstop = Backstop {
    queue: Mutex::new(Queue {
        soon: Vec::new(),
        soon_at: None,
        later: BTreeMap::new(),
        number: 0,
        is_running: false,
    }),
    changed: Condvar::new(),
};

struct Backstop {
    queue: Mutex<Queue>,
    /// Notified when the next work comes earlier than before.
    changed: Condvar,
}

struct Queue {
    /// The targets to look at when the tick is over.
    soon: Vec<Weak<dyn WatchTarget>>,
    soon_at: Option<Instant>,
    /// Work by its time. The number distinguishes work of the same time.
    later: BTreeMap<(Instant, u64), QueueEntry>,
    number: u64,
    is_running: bool,
}

/// Work of the thread.
enum QueueEntry {
    Look(Weak<dyn WatchTarget>),
    Wake(Arc<AlarmWaker>),
}

impl Queue {
    /// The time of the next work.
    fn next(&self) -> Option<Instant> {
        let later = self.later.first_key_value().map(|((at, _), _)| *at);
        [self.soon_at, later].into_iter().flatten().min()
    }

    fn take_due(&mut self, now: Instant) -> Vec<QueueEntry> {
        let mut due = Vec::new();
        if self.soon_at.is_some_and(|at| at <= now) {
            self.soon_at = None;
            due.extend(mem::take(&mut self.soon).into_iter().map(QueueEntry::Look));
        }
        while let Some(first) = self.later.first_entry()
            && first.key().0 <= now
        {
            due.push(first.remove());
        }
        due
    }
}

impl Backstop {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread, if it does not run. If no thread can be started, the next call tries again;
    /// until then only the drivers keep the deadlines.
    fn start(&'static self, queue: &mut Queue) -> bool {
        if !queue.is_running {
            let thread = thread::Builder::new().name("wawo-backstop".to_owned());
            match thread.spawn(|| self.run()) {
                Ok(_) => queue.is_running = true,
                Err(error) => {
                    tracing::warn!(target: "wawo::call", %error, "the thread that ends late calls cannot start")
                }
            }
        }
        queue.is_running
    }

    /// Adds work at a time; returns the key with which it can be removed.
    fn add(&'static self, at: Instant, due: QueueEntry) -> (Instant, u64) {
        let mut queue = self.lock();
        let is_next = queue.next().is_none_or(|next| at < next);
        queue.number += 1;
        let key = (at, queue.number);
        queue.later.insert(key, due);
        self.start(&mut queue);
        drop(queue);
        if is_next {
            self.changed.notify_one();
        }
        key
    }

    fn run(&'static self) -> ! {
        loop {
            for due in self.wait() {
                // Wakers are foreign code, which may panic; the thread has to go on.
                let _ = catch_unwind(AssertUnwindSafe(|| self.act(due)));
            }
        }
    }

    /// Waits until work is due, and takes it.
    fn wait(&self) -> Vec<QueueEntry> {
        let mut queue = self.lock();
        loop {
            let now = Instant::now();
            let due = queue.take_due(now);
            if !due.is_empty() {
                return due;
            }
            queue = match queue.next() {
                None => self.changed.wait(queue),
                Some(at) => {
                    let waited = self.changed.wait_timeout(queue, at - now);
                    waited
                        .map(|(queue, _)| queue)
                        .map_err(|error| PoisonError::new(error.into_inner().0))
                }
            }
            .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn act(&'static self, due: QueueEntry) {
        let mut wakers = Vec::new();
        match due {
            QueueEntry::Wake(waker) => wakers.extend(waker.take()),
            QueueEntry::Look(watched) => {
                let next = watched.upgrade().and_then(|it| it.look(&mut wakers));
                if let Some(at) = next {
                    self.add(at, QueueEntry::Look(watched));
                }
            }
        }
        for waker in wakers {
            // If one waker panics, the others have to be woken all the same.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}
