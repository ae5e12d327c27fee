//! The handlers: each behaves as the plan of its call says.

use std::{panic, sync::Arc};

use bytes::Bytes;
use futures::stream;
use wawo::{Context, Result, Status, Streaming};

use crate::{
    client,
    content::{Way, content},
    echo::{Echo, Message, RepeatRequest},
    history::CallEvent,
    plan::{CallPlan, End, HandlerPlan, Reads},
    world::World,
};

/// The service of both ends of every connection.
#[derive(Debug, Clone)]
pub(crate) struct Handlers(pub(crate) Arc<World>);

/// The metadata key of a call's number.
pub(crate) const NUMBER: &str = "number";

impl Echo for Handlers {
    async fn say(&self, cx: Context, message: Message) -> Result<Message> {
        let mut work = self.begin(&cx, Some(&message.data));
        work.prepare(&cx).await;
        work.end().await?;
        Ok(work.reply())
    }

    async fn note(&self, cx: Context, message: Message) {
        let mut work = self.begin(&cx, Some(&message.data));
        work.prepare(&cx).await;
        // Nobody learns of a failure.
        let _ = work.end().await;
    }

    async fn repeat(&self, cx: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let mut work = self.begin(&cx, Some(&request.data));
        work.prepare(&cx).await;
        work.end_early().await?;
        Ok(replies(work, Streaming::empty()))
    }

    async fn join(&self, cx: Context, requests: Streaming<Message>) -> Result<Message> {
        let mut work = self.begin(&cx, None);
        work.prepare(&cx).await;
        let mut requests = Requests::new(requests);
        while requests.read(&work).await? {}
        work.end().await?;
        Ok(work.reply())
    }

    async fn talk(&self, cx: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        let mut work = self.begin(&cx, None);
        work.prepare(&cx).await;
        work.end_early().await?;
        Ok(replies(work, requests))
    }

    async fn act(&self, _: Context, _: Message) -> Result<Message> {
        Err(Status::unimplemented("no plan has this"))
    }
}

impl Handlers {
    /// Begins to work on a call. Its first message is given if it is the only one.
    fn begin(&self, cx: &Context, message: Option<&Bytes>) -> Work {
        let number = match (cx.metadata(NUMBER), message) {
            (Some(number), _) => number.parse().ok(),
            (None, Some(message)) => message
                .first_chunk()
                .map(|&bytes| u32::from_be_bytes(bytes)),
            (None, None) => None,
        };
        let number = number.expect("every call carries its number");
        self.0.history.call(number, CallEvent::Begun);
        let work = Work {
            world: self.0.clone(),
            number,
            is_done: false,
        };
        if let Some(message) = message {
            work.received(0, message);
        }
        work
    }
}

/// The work of a handler on its call. It records its end in the history.
struct Work {
    world: Arc<World>,
    number: u32,
    is_done: bool,
}

impl Work {
    fn call(&self) -> &CallPlan {
        self.world.call(self.number)
    }

    fn plan(&self) -> &HandlerPlan {
        &self.call().handler
    }

    /// The first step of every handler.
    async fn prepare(&self, cx: &Context) {
        // A handler that does not wait may end when it is first polled.
        if !self.plan().wait.is_zero() {
            client::pause(self.plan().wait).await;
            client::give_way(self.call().turns).await;
        }
        if let Some(number) = self.plan().calls_back {
            let link = self.world.link_of(self.number);
            client::make(self.world.clone(), number, link, cx.peer()).await;
        }
    }

    /// Ends as planned, unless the plan is to end after the replies.
    async fn end_early(&mut self) -> Result<()> {
        match self.plan().ends_early && self.plan().end != End::Reply {
            true => self.end().await,
            false => Ok(()),
        }
    }

    /// Ends as planned; if successfully, the handler still has to reply.
    async fn end(&mut self) -> Result<()> {
        let end = self.plan().end;
        if end == End::Never {
            std::future::pending::<()>().await;
        }
        self.is_done = true;
        self.world.history.call(self.number, CallEvent::Done);
        match end {
            End::Fail => Err(Status::failed_precondition("as planned")),
            // Unlike a panic of a bug, a planned panic prints nothing.
            End::Panic => panic::resume_unwind(Box::new("as planned")),
            End::Reply | End::Never => Ok(()),
        }
    }

    fn reply(&self) -> Message {
        let data = content(self.number, Way::Reply, 0, self.call().replies[0].bytes);
        Message { data }
    }

    fn received(&self, position: usize, data: &Bytes) {
        let planned = self.call().requests.get(position);
        let intact = planned.is_some() && client::request(self.call(), position) == *data;
        let way = Way::Request;
        let event = CallEvent::Received {
            way,
            position,
            intact,
        };
        self.world.history.call(self.number, event);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.is_done {
            self.world.history.call(self.number, CallEvent::Dropped);
        }
    }
}

/// A stream of requests, as far as the plan reads it.
struct Requests {
    /// `None` when nothing more is to be read.
    stream: Option<Streaming<Message>>,
    read: usize,
}

impl Requests {
    fn new(stream: Streaming<Message>) -> Self {
        let stream = Some(stream);
        Self { stream, read: 0 }
    }

    /// Reads the next request; `false` if there is none, or if the plan reads no more.
    async fn read(&mut self, work: &Work) -> Result<bool> {
        let Some(stream) = &mut self.stream else {
            return Ok(false);
        };
        let wanted = match work.plan().reads {
            Reads::All => usize::MAX,
            Reads::First(wanted) | Reads::FirstThenAwaitsAll(wanted) => wanted,
        };
        if self.read == wanted {
            self.stream = None;
            if let Reads::FirstThenAwaitsAll(_) = work.plan().reads {
                work.world.until_all_sent(work.number).await;
            }
            return Ok(false);
        }
        client::pause(work.plan().read_pause).await;
        let Some(message) = stream.message().await? else {
            self.stream = None;
            let event = CallEvent::RequestsEnded;
            work.world.history.call(work.number, event);
            return Ok(false);
        };
        work.received(self.read, &message.data);
        self.read += 1;
        Ok(true)
    }
}

/// The planned replies, each after a request if there are requests, and the planned end.
fn replies(work: Work, requests: Streaming<Message>) -> Streaming<Message> {
    let has_requests = work.call().shape.streams_requests();
    let replying = Replying {
        requests: has_requests.then(|| Requests::new(requests)),
        work,
        sent: 0,
        is_over: false,
    };
    Streaming::new(stream::unfold(replying, Replying::next))
}

struct Replying {
    work: Work,
    requests: Option<Requests>,
    sent: usize,
    is_over: bool,
}

impl Replying {
    async fn next(mut self) -> Option<(Result<Message>, Self)> {
        if self.is_over {
            return None;
        }
        match self.message().await {
            Ok(message) => Some((Ok(message?), self)),
            Err(status) => {
                self.is_over = true;
                Some((Err(status), self))
            }
        }
    }

    async fn message(&mut self) -> Result<Option<Message>> {
        let Some(&item) = self.work.call().replies.get(self.sent) else {
            while self.read().await? {}
            self.work.end().await?;
            return Ok(None);
        };
        self.read().await?;
        client::pause(item.pause).await;
        let data = content(self.work.number, Way::Reply, self.sent, item.bytes);
        self.sent += 1;
        Ok(Some(Message { data }))
    }

    async fn read(&mut self) -> Result<bool> {
        match &mut self.requests {
            Some(requests) => requests.read(&self.work).await,
            None => Ok(false),
        }
    }
}
