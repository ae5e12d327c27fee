//! The future of a response.

mod observed;
mod spanned;

use std::{
    any::Any,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tracing::Span;
use wawo_protocol::{CallId, Code};

use crate::{
    clock, expiry,
    observe::{Measure, OpenRecord},
    panic::Catch,
    response::Response,
    response_future::{
        observed::ObservedFuture,
        spanned::{SpannedFuture, in_span},
    },
    status::{BoxError, Carrier, Result, Status},
};

/// The future of every service in wawo: resolves to the response of a call.
///
/// Dropping it before it is ready cancels the call.
#[must_use = "dropping it cancels the call"]
pub struct ResponseFuture(Kind);

enum Kind {
    Boxed {
        future: Pin<Box<dyn Future<Output = Result<Response>> + Send>>,
        /// Whether its panics become statuses inside of it.
        is_guarded: bool,
    },
    Slot(SlotFuture),
    Observed(Box<ObservedFuture<ResponseFuture>>),
    Ready(Option<Result<Response>>),
}

impl ResponseFuture {
    /// Boxes a future, whose error may be that of any layer: the errors of tower's own layers, and a
    /// boxed [`Status`], become the right status. A `ResponseFuture` is returned unchanged, so that many
    /// layers box only once.
    pub fn new<F, E>(future: F) -> Self
    where
        F: Future<Output = std::result::Result<Response, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        match Self::unboxed(future) {
            Ok(reply) => reply,
            Err(future) => Self(Kind::Boxed {
                future: Box::pin(async move { future.await.map_err(Status::from_error) }),
                is_guarded: false,
            }),
        }
    }

    /// Boxes as [`new`](Self::new) does, and turns a panic of the future into a status too.
    pub(crate) fn guarded<F, E>(future: F) -> Self
    where
        F: Future<Output = std::result::Result<Response, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        match Self::unboxed(future).map(|reply| reply.0) {
            Err(future) => Self::boxed(Catch::new(future)),
            Ok(Kind::Boxed {
                future,
                is_guarded: false,
            }) => Self::boxed(Catch::new(future)),
            Ok(kind) => Self(kind),
        }
    }

    /// The future itself if it is a `ResponseFuture` already; otherwise `Err` returns it.
    fn unboxed<F: 'static>(future: F) -> std::result::Result<Self, F> {
        let mut slot = Some(future);
        let any: &mut dyn Any = &mut slot;
        if let Some(reply) = any.downcast_mut::<Option<Self>>()
            && let Some(reply) = reply.take()
        {
            return Ok(reply);
        }
        match slot {
            Some(future) => Err(future),
            // Not reached: the slot is only emptied after a reply was found in it.
            None => Ok(Self::ready(Err(Status::internal("no reply")))),
        }
    }

    /// Boxes a future of this crate, whose panics and errors are statuses already.
    pub(crate) fn boxed(future: impl Future<Output = Result<Response>> + Send + 'static) -> Self {
        Self(Kind::Boxed {
            future: Box::pin(future),
            is_guarded: true,
        })
    }

    /// As [`boxed`](Self::boxed), with the future made where it stays: a large one that is made elsewhere
    /// is copied there, which costs each call.
    #[inline(always)]
    pub(crate) fn boxed_in_place<F>(make: impl FnOnce() -> F) -> Self
    where
        F: Future<Output = Result<Response>> + Send + 'static,
    {
        let place = Box::new_uninit();
        let future = Box::into_pin(Box::write(place, make()));
        Self(Kind::Boxed {
            future,
            is_guarded: true,
        })
    }

    /// A future whose result is known already.
    pub fn ready(result: Result<Response>) -> Self {
        Self(Kind::Ready(Some(result)))
    }

    pub(crate) fn from_slot(slot: Arc<ResponseSlot>, canceller: Arc<dyn Canceller>) -> Self {
        let slot = Some(slot);
        Self(Kind::Slot(SlotFuture { slot, canceller }))
    }

    /// Ends the record of the call with the response, or with its stream of replies.
    pub(crate) fn observed(self, record: OpenRecord) -> Self {
        match self.0 {
            Kind::Ready(Some(result)) => Self::ready(observed::ended(result, record)),
            kind => Self(Kind::Observed(Box::new(ObservedFuture::new(
                Self(kind),
                record,
            )))),
        }
    }

    /// Ends the measure of the call with the response.
    #[inline]
    pub(crate) fn measured(self, measure: Measure) -> Self {
        match &self.0 {
            Kind::Slot(SlotFuture {
                slot: Some(slot), ..
            }) => {
                slot.lock().measure = Some(measure);
                self
            }
            _ => self.observed(measure.into_record()),
        }
    }

    /// Ends the measure of a one-way call, which has no reply.
    pub(crate) fn sent(self, measure: Measure) -> Self {
        match &self.0 {
            Kind::Ready(Some(result)) => {
                let code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
                measure.end(code, None, clock::now());
                self
            }
            _ => self.observed(measure.into_one_way_record()),
        }
    }

    /// Polls the future, and the stream of replies that it may resolve to, in a span.
    pub(crate) fn in_span(self, span: &Span) -> Self {
        match self.0 {
            Kind::Ready(result) => {
                Self(Kind::Ready(result.map(|result| {
                    result.map(|response| in_span(response, span))
                })))
            }
            kind => Self::boxed(SpannedFuture::new(Self(kind), span.clone())),
        }
    }

    /// Whether the call has ended, or belongs to a connection, which ends it at its deadline.
    pub(crate) fn keeps_deadline(&self) -> bool {
        match &self.0 {
            Kind::Slot(_) | Kind::Ready(_) => true,
            Kind::Observed(observed) => observed.reply().keeps_deadline(),
            Kind::Boxed { .. } => false,
        }
    }

    /// The connection that carries the call, if it is known here.
    #[cold]
    pub(crate) fn carrier(&self) -> Option<Arc<dyn Carrier>> {
        match &self.0 {
            Kind::Slot(promised) => promised.canceller.carrier(),
            Kind::Observed(observed) => observed.reply().carrier(),
            Kind::Boxed { .. } | Kind::Ready(_) => None,
        }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response>> {
        match &mut self.0 {
            Kind::Boxed { future, .. } => match future.as_mut().poll(cx) {
                Poll::Pending if expiry::is_expiring() => {
                    self.0 = Kind::Ready(None);
                    Poll::Ready(Err(expiry::status()))
                }
                polled => polled,
            },
            Kind::Slot(promised) => promised.poll(cx),
            Kind::Observed(observed) => observed.poll(cx),
            Kind::Ready(result) => match result.take() {
                Some(result) => Poll::Ready(result),
                None => Poll::Pending,
            },
        }
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

/// The slot into which a driver puts the response of a call that this side started.
#[derive(Debug, Default)]
pub(crate) struct ResponseSlot {
    state: Mutex<SlotContents>,
    /// The id of the call on the wire, once the driver has sent it; zero before that. Only the driver
    /// uses it.
    call: AtomicU32,
}

#[derive(Debug, Default)]
struct SlotContents {
    state: SlotState,
    /// The measure of the call, if it has metrics and no other observers.
    measure: Option<Measure>,
}

#[derive(Debug)]
enum SlotState {
    Waiting(Option<Waker>),
    Ready(Result<Response>),
    /// The response was taken, or the call was cancelled.
    Done,
}

impl Default for SlotState {
    fn default() -> Self {
        Self::Waiting(None)
    }
}

impl ResponseSlot {
    /// Puts the response in. Returns the waker of the task that waits for it, to be woken without locks.
    pub(crate) fn complete(&self, result: Result<Response>) -> Option<Waker> {
        let state = &mut self.lock().state;
        match state {
            SlotState::Waiting(waker) => {
                let waker = waker.take();
                *state = SlotState::Ready(result);
                waker
            }
            SlotState::Ready(_) | SlotState::Done => None,
        }
    }

    /// Empties the slot for another call; it has no other owner any more.
    pub(crate) fn reset(&mut self) {
        let contents = self.state.get_mut();
        // The future has taken the measure.
        contents.unwrap_or_else(PoisonError::into_inner).state = SlotState::default();
        *self.call.get_mut() = 0;
    }

    /// Records that the call has been sent with this id.
    pub(crate) fn set_call(&self, call: CallId) {
        self.call.store(call.to_wire(), Ordering::Relaxed);
    }

    /// The id of the call, if it has been sent.
    pub(crate) fn call(&self) -> Option<CallId> {
        CallId::from_wire(self.call.load(Ordering::Relaxed))
    }

    /// Whether nobody waits for the response any more: it is there, or the call was cancelled.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.lock().state, SlotState::Waiting(_))
    }

    fn lock(&self) -> MutexGuard<'_, SlotContents> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes on the cancel of a call to the connection that carries it.
pub(crate) trait Canceller: Send + Sync {
    fn cancel(&self, slot: &Arc<ResponseSlot>);

    /// The connection of the call, if there is one.
    fn carrier(&self) -> Option<Arc<dyn Carrier>> {
        None
    }
}

struct SlotFuture {
    /// The slot; `None` once the response was taken.
    slot: Option<Arc<ResponseSlot>>,
    canceller: Arc<dyn Canceller>,
}

impl SlotFuture {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Response>> {
        let Some(slot) = &self.slot else {
            return Poll::Pending;
        };
        let mut contents = slot.lock();
        match std::mem::replace(&mut contents.state, SlotState::Done) {
            SlotState::Waiting(waker) => {
                let waker = match waker {
                    Some(waker) if waker.will_wake(cx.waker()) => waker,
                    _ => cx.waker().clone(),
                };
                contents.state = SlotState::Waiting(Some(waker));
                Poll::Pending
            }
            SlotState::Ready(result) => {
                if let Some(measure) = contents.measure.take() {
                    drop(contents);
                    return Poll::Ready(self.end_measure(result, measure));
                }
                drop(contents);
                self.slot = None;
                Poll::Ready(self.placed(result))
            }
            SlotState::Done => Poll::Pending,
        }
    }

    // Out of line, so that calls without a measure do not pay for it.
    #[inline(never)]
    fn end_measure(&mut self, result: Result<Response>, measure: Measure) -> Result<Response> {
        self.slot = None;
        observed::measured(self.placed(result), measure)
    }

    /// The result, whose status names the connection that carried the call.
    #[inline]
    fn placed(&self, result: Result<Response>) -> Result<Response> {
        result.map_err(|status| status.carried_by(self.canceller.carrier()))
    }
}

impl Drop for SlotFuture {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else {
            return;
        };
        // The state is changed before the driver gets the cancel. So a driver that has not started the call yet
        // finds that it is cancelled, whether it takes the call or the cancel first.
        let mut contents = slot.lock();
        let before = std::mem::replace(&mut contents.state, SlotState::Done);
        let measure = contents.measure.take();
        drop(contents);
        if matches!(before, SlotState::Waiting(_)) {
            self.canceller.cancel(&slot);
        }
        if let Some(measure) = measure {
            measure.end(Code::Cancelled, None, clock::now_in_drop());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::{Canceller, ResponseFuture, ResponseSlot};
    use crate::{body::Body, response::Response, status::Status};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Canceller for Count {
        fn cancel(&self, _: &Arc<ResponseSlot>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn promise() -> (Arc<ResponseSlot>, Arc<Count>, ResponseFuture) {
        let (slot, count) = (
            Arc::new(ResponseSlot::default()),
            Arc::new(Count::default()),
        );
        let reply = ResponseFuture::from_slot(slot.clone(), count.clone());
        (slot, count, reply)
    }

    fn response() -> Response {
        Response::new(Default::default(), Body::One(Default::default()))
    }

    #[tokio::test]
    async fn an_answer_wakes_who_waits_and_nothing_is_cancelled() {
        let (slot, count, reply) = promise();
        let waiting = tokio::spawn(reply);
        tokio::task::yield_now().await;
        slot.complete(Ok(response())).unwrap().wake();
        waiting.await.unwrap().unwrap();
        assert!(slot.is_over());
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn dropping_a_reply_cancels_once_and_a_late_answer_is_let_go() {
        let (slot, count, reply) = promise();
        drop(reply);
        assert!(slot.is_over());
        assert!(slot.complete(Ok(response())).is_none());
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn dropping_an_answered_reply_cancels_nothing() {
        let (slot, count, reply) = promise();
        slot.complete(Err(Status::aborted("no")));
        drop(reply);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_reply_future_is_not_boxed_twice() {
        let reply = ResponseFuture::new(ResponseFuture::ready(Ok(response())));
        assert!(matches!(reply.0, super::Kind::Ready(_)));
        reply.await.unwrap();
    }
}
