//! A service in the same process, called without a connection.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use wawo_protocol::Metadata;

use crate::{
    body::Body,
    caller::{Calls, Start, TwoWay},
    panic::{Catch, catch},
    reply::ReplyFuture,
    request::Request,
    response::Response,
    serve::{BoxService, Serve},
    status::{Delivery, Result, Status},
};

/// Carries calls to a service in the same process: for tests, and for parts of a program that may
/// move elsewhere later. Messages are encoded and decoded, layers apply, deadlines run and panics
/// answer `Internal`, as over a connection; there are no sockets and no peer to call back.
///
/// A one-way message is handled in a task of its own.
#[derive(Debug, Clone)]
pub struct InProcess(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    service: Mutex<BoxService>,
    default_timeout: Duration,
}

impl InProcess {
    /// Calls go to this service. Calls without a deadline have ten seconds, as over a connection.
    pub fn new(service: impl Serve) -> Self {
        Self(Arc::new(Shared {
            service: Mutex::new(BoxService::new(service)),
            default_timeout: Duration::from_secs(10),
        }))
    }
}

impl Calls for InProcess {
    type Ability = TwoWay;

    fn handle(&self) -> Arc<dyn Start> {
        self.0.clone()
    }
}

impl Start for Shared {
    fn start(self: Arc<Self>, mut request: Request) -> ReplyFuture {
        let now = tokio::time::Instant::now().into_std();
        let deadline = request.deadline().unwrap_or(now + self.default_timeout);
        request.set_deadline(Some(deadline));
        let one_way = request.is_one_way();
        let reply = ReplyFuture::boxed(async move {
            let begin = || {
                let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
                service.call(request)
            };
            let mut reply = Catch(catch(begin)?);
            let answer = poll_fn(|cx| Pin::new(&mut reply).poll(cx));
            match tokio::time::timeout_at(deadline.into(), answer).await {
                Ok(result) => result,
                Err(_) => Err(Status::deadline_exceeded("no reply before the deadline")
                    .with_delivery(Delivery::Unknown)),
            }
        });
        match one_way {
            false => reply,
            true => {
                tokio::spawn(reply);
                ReplyFuture::ready(nothing())
            }
        }
    }
}

fn nothing() -> Result<Response> {
    Ok(Response::new(Metadata::new(), Body::One(Bytes::new())))
}
