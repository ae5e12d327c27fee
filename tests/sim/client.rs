//! The callers: each makes one call, as its plan says.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{self, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};
use wawo::{Call, Peer, Result, Streaming};

use crate::{
    content::{Way, content},
    echo::{EchoClient, Message, RepeatRequest},
    history::{CallEvent, Outcome},
    plan::{CallPlan, Shape},
    server::NUMBER,
    world::World,
};

/// A call that is made, until its end.
pub(crate) type Made = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes a call over a link, and records its outcome; then awaits the call that replaces it, if one does.
///
/// The future is boxed, because a handler that calls back contains such a future, which contains
/// further ones.
pub(crate) fn make(world: Arc<World>, number: u32, link: u32, peer: Peer) -> Made {
    Box::pin(async move {
        world.made(number, link);
        let mut caller = Caller {
            world,
            number,
            outcome: Outcome::GivenUp,
        };
        let (outcome, replacement) = caller.call_or_drop(link, &peer).await;
        caller.outcome = outcome;
        drop(caller);
        if let Some(replacement) = replacement {
            replacement.await;
        }
    })
}

/// Waits if the time is not zero, since a wait of zero would still let other tasks run.
pub(crate) async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// Begins a call, so that its driver receives it before anything that its caller does next.
fn begun(call: Option<Made>) -> Option<Made> {
    let mut call = call?;
    let mut nobody = task::Context::from_waker(Waker::noop());
    call.as_mut().poll(&mut nobody).is_pending().then_some(call)
}

/// Yields the given number of times.
pub(crate) async fn give_way(turns: u32) {
    for _ in 0..turns {
        yield_now().await;
    }
}

/// The request at this position.
pub(crate) fn request(call: &CallPlan, position: usize) -> Bytes {
    let bytes = call.requests[position].bytes;
    let plain = content(call.number, Way::Request, position, bytes);
    if !call.number_in_message {
        return plain;
    }
    let mut numbered = BytesMut::from(plain);
    numbered[..4].copy_from_slice(&call.number.to_be_bytes());
    numbered.freeze()
}

/// The caller of a call. When it is dropped, with its handler or at the end, the call is dropped
/// too.
struct Caller {
    world: Arc<World>,
    number: u32,
    outcome: Outcome,
}

impl Caller {
    fn plan(&self) -> &CallPlan {
        self.world.call(self.number)
    }

    /// The outcome, and the call that replaces one that is dropped.
    async fn call_or_drop(&self, link: u32, peer: &Peer) -> (Outcome, Option<Made>) {
        let mut call = pin!(self.call(EchoClient::new(peer)));
        let Some(patience) = self.plan().dropped_after else {
            return (call.await, None);
        };
        if let Ok(outcome) = timeout(patience, &mut call).await {
            return (outcome, None);
        }
        give_way(self.plan().turns).await;
        let replacement = self.plan().replaced_by;
        let replacement =
            replacement.map(|number| make(self.world.clone(), number, link, peer.clone()));
        (Outcome::GivenUp, begun(replacement))
    }

    async fn call(&self, echo: EchoClient) -> Outcome {
        let result = match self.plan().shape {
            Shape::Unary => self.one(echo.say(self.message())).await,
            Shape::OneWay => self
                .with_options(echo.note(self.message()))
                .await
                .map(|()| Outcome::Ok),
            Shape::ClientStream => self.one(echo.join(self.requests())).await,
            Shape::ServerStream => {
                let Message { data } = self.message();
                let request = RepeatRequest { data, times: 0 };
                self.many(echo.repeat(request)).await
            }
            Shape::BidiStream => self.many(echo.talk(self.requests())).await,
        };
        result.unwrap_or_else(Outcome::from)
    }

    fn with_options<R>(&self, mut call: Call<R>) -> Call<R> {
        if let Some(timeout) = self.plan().timeout {
            call = call.timeout(timeout);
        }
        match self.plan().number_in_message {
            true => call,
            false => call.metadata(NUMBER, self.number.to_string()),
        }
    }

    async fn one(&self, call: Call<Message>) -> Result<Outcome> {
        let reply = self.with_options(call).await?;
        self.received(0, &reply.data);
        Ok(Outcome::Ok)
    }

    async fn many(&self, call: Call<Streaming<Message>>) -> Result<Outcome> {
        let mut replies = self.with_options(call).await?;
        let mut position = 0;
        loop {
            if self.plan().dropped_at == Some(position) {
                return Ok(Outcome::GivenUp);
            }
            pause(self.plan().read_pause).await;
            let Some(reply) = replies.message().await? else {
                return Ok(Outcome::Ok);
            };
            self.received(position, &reply.data);
            position += 1;
        }
    }

    fn message(&self) -> Message {
        let data = request(self.plan(), 0);
        Message { data }
    }

    fn requests(&self) -> impl Stream<Item = Message> + Send + 'static {
        let (world, number) = (self.world.clone(), self.number);
        stream::unfold(0, move |position| {
            let world = world.clone();
            async move {
                let call = world.call(number);
                let Some(item) = call.requests.get(position) else {
                    world.all_sent(number);
                    return None;
                };
                pause(item.pause).await;
                let data = request(call, position);
                Some((Message { data }, position + 1))
            }
        })
    }

    fn received(&self, position: usize, data: &Bytes) {
        let call = self.plan();
        let planned = call.replies.get(position);
        let intact = planned
            .is_some_and(|item| content(self.number, Way::Reply, position, item.bytes) == *data);
        let event = CallEvent::Received {
            way: Way::Reply,
            position,
            intact,
        };
        self.world.history.call(self.number, event);
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let event = CallEvent::Over(self.outcome);
        self.world.history.call(self.number, event);
    }
}
