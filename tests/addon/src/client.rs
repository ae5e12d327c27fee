//! Starts calls over lines: what stubs and a [`RawClient`](wawo::RawClient) stand on.
//!
//! A carrier of calls implements two small traits: [`CallTarget`], over which a stub is made, and
//! [`Start`], by which that stub starts its calls. The rules for a `Start` are few:
//!
//! - it begins with [`Request::take_default_timeout`], and ends each call at its deadline;
//! - a status says how far the call had come ([`Delivery`]), and where it went;
//! - dropping the future, or the stream of replies, cancels the call.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures::stream;
use tokio::{
    sync::mpsc,
    time::{error::Elapsed, timeout_at},
};
use wawo::{
    Address, Body, CallTarget, Config, Delivery, Metadata, Request, Response, ResponseFuture,
    Result, Start, Status, Streaming, Transport, TwoWay,
};

use crate::{
    connection::{self, Command, OutgoingCall},
    line::{Answer, CallerLine, MAX_LINE_BYTES},
};

/// Answers to one call that wait for their reader: the begin of a stream of replies, and its items. A
/// stream whose reader is slower ends with `ResourceExhausted`, since lines have no credit by which the
/// server could be told to wait.
pub const MAX_WAITING_ANSWERS: usize = 64;

/// Commands that wait for the connection. Calls wait in front of it, within their deadlines.
const MAX_WAITING_COMMANDS: usize = 16;

/// Carries calls by lines. Clones share a connection, which ends with the last of them and of their
/// stubs and calls.
///
/// Methods that take a stream of requests are `Unimplemented`. Metadata of calls is not carried.
#[derive(Debug, Clone)]
pub struct LineClient(Arc<Carrier>);

/// The part of a client that its stubs and calls share.
#[derive(Debug)]
struct Carrier {
    commands: mpsc::Sender<Command>,
    address: Address,
    config: Config,
}

impl LineClient {
    /// Speaks lines over a transport, under this name. Statuses tell the address. Of the configuration,
    /// the default timeouts hold, and `max_calls`: above it, calls wait.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn over(
        transport: impl Transport,
        address: Address,
        name: impl Into<String>,
        config: Config,
    ) -> Self {
        let (commands, receiver) = mpsc::channel(MAX_WAITING_COMMANDS);
        let hello = CallerLine::Hello(name.into());
        let max_calls = config.limits().max_calls as usize;
        tokio::spawn(connection::run(transport, hello, receiver, max_calls));
        Self(Arc::new(Carrier {
            commands,
            address,
            config,
        }))
    }
}

impl CallTarget for LineClient {
    type Ability = TwoWay;

    fn handle(&self) -> Arc<dyn Start> {
        self.0.clone()
    }
}

impl Start for Carrier {
    fn start(self: Arc<Self>, mut request: Request) -> ResponseFuture {
        request.take_default_timeout(&self.config);
        ResponseFuture::new(async move {
            let address = self.address.clone();
            let result = self.call(request).await;
            result.map_err(|status| status.with_address(address))
        })
    }

    fn address(&self) -> Option<&Address> {
        Some(&self.address)
    }
}

impl Carrier {
    async fn call(self: Arc<Self>, request: Request) -> Result<Response> {
        let call = described(request).map_err(|status| status.with_delivery(Delivery::NotSent))?;
        let deadline = call.deadline;
        if call.one_way {
            self.give(Command::Send(call.outgoing.one_way()), deadline)
                .await?;
            return Ok(response(Body::One(Bytes::new().into())));
        }
        let (sender, receiver) = mpsc::channel(MAX_WAITING_ANSWERS + 1);
        self.give(Command::Call(call.outgoing, deadline, sender), deadline)
            .await?;
        let mut answers = Answers {
            receiver,
            deadline,
            _carrier: self,
        };
        match answers.next().await? {
            Answer::Reply(message) => Ok(response(Body::One(message.into()))),
            Answer::Stream => Ok(response(Body::Many(answers.into_items()))),
            other => Err(out_of_place(&other)),
        }
    }

    /// Gives a command to the connection, which may have to wait for room.
    async fn give(&self, command: Command, deadline: Option<Instant>) -> Result<()> {
        let status = match until(deadline, self.commands.send(command)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(_)) => lost(),
            Err(_) => expired(),
        };
        Err(status.with_delivery(Delivery::NotSent))
    }
}

fn response(body: Body) -> Response {
    Response::new(Metadata::new(), body)
}

/// A call as lines have it.
struct DescribedCall {
    outgoing: OutgoingCall,
    one_way: bool,
    deadline: Option<Instant>,
}

/// # Errors
///
/// If lines cannot carry the call.
fn described(request: Request) -> Result<DescribedCall> {
    let (one_way, deadline) = (request.is_one_way(), request.deadline());
    let (parts, body) = request.into_parts();
    let Some(method) = parts.descriptor() else {
        let text = "lines name the method of a call: make it by a descriptor";
        return Err(Status::invalid_argument(text));
    };
    let Body::One(message) = body else {
        let text = format!("`{method}` takes a stream of requests, which lines do not carry");
        return Err(Status::unimplemented(text));
    };
    let outgoing = OutgoingCall {
        path: method.path().to_owned(),
        message: message.into_bytes(),
    };
    let bytes = outgoing.max_line_bytes();
    if bytes > MAX_LINE_BYTES {
        let text = format!("a line of {bytes} bytes; the limit is {MAX_LINE_BYTES}");
        return Err(Status::resource_exhausted(text));
    }
    Ok(DescribedCall {
        outgoing,
        one_way,
        deadline,
    })
}

/// The answers to a call. Dropping them cancels it.
struct Answers {
    receiver: mpsc::Receiver<Answer>,
    deadline: Option<Instant>,
    /// Keeps the connection while the call goes on.
    _carrier: Arc<Carrier>,
}

impl Answers {
    /// The next answer that is no status.
    async fn next(&mut self) -> Result<Answer> {
        match until(self.deadline, self.receiver.recv()).await {
            Ok(Some(Answer::Fail(status))) => Err(status),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(lost().with_delivery(Delivery::Unknown)),
            Err(_) => Err(expired().with_delivery(Delivery::Unknown)),
        }
    }

    /// The stream of replies that they are.
    fn into_items(self) -> Streaming<Bytes> {
        Streaming::new(stream::try_unfold(self, |mut answers| async {
            match answers.next().await? {
                Answer::Item(message) => Ok(Some((message, answers))),
                Answer::End => Ok(None),
                other => Err(out_of_place(&other)),
            }
        }))
    }
}

/// Waits for a future no longer than to a deadline.
async fn until<F: Future>(deadline: Option<Instant>, future: F) -> Result<F::Output, Elapsed> {
    match deadline {
        Some(deadline) => timeout_at(deadline.into(), future).await,
        None => Ok(future.await),
    }
}

fn expired() -> Status {
    Status::deadline_exceeded("the deadline of the call passed")
}

fn lost() -> Status {
    Status::unavailable("the connection of lines is over")
}

fn out_of_place(answer: &Answer) -> Status {
    Status::internal(format!(
        "the server sent an answer out of place: {answer:?}"
    ))
}
