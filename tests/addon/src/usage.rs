//! A layer that measures: how often each method was called, and how its calls ended.
//!
//! It stands around all services of a server, where [`Request::descriptor`] tells the method and
//! [`Response::on_end`](wawo::Response::on_end) the end of a stream of replies.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wawo::{
    Code, Request, Response, Result,
    layer::{Intercept, Next},
};

/// Counts calls by the full names of their methods: give a clone of it to
/// [`layer::intercept`](wawo::layer::intercept). Clones share the counts.
///
/// Methods that the server does not have share one entry, the empty name, so that callers cannot fill the
/// memory with names.
#[derive(Debug, Clone, Default)]
pub struct Usage(Arc<Mutex<BTreeMap<String, MethodUsage>>>);

/// The calls of one method.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodUsage {
    /// Calls that have begun.
    pub begun: u64,
    /// Calls that have ended, by their codes, as [`Code::to_wire`] has these. A call that was dropped is
    /// [`Code::Cancelled`].
    pub ended: BTreeMap<u16, u64>,
    /// Replies that were given on.
    pub replies: u64,
}

impl Usage {
    /// The calls of the method with this full name, such as `chat.v1.Chat/Join`.
    pub fn of(&self, method: &str) -> MethodUsage {
        self.lock().get(method).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, MethodUsage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for Usage {
    async fn call(&self, request: Request, next: Next) -> Result<Response> {
        let method = request.descriptor().map(ToString::to_string);
        let mut counted = CountedCall::begin(self.clone(), method.unwrap_or_default());
        match next.call(request).await {
            Ok(response) => Ok(response.on_end(move |end| counted.end(end.code(), end.messages()))),
            Err(status) => {
                counted.end(status.code(), 0);
                Err(status)
            }
        }
    }
}

/// A call that has begun. Its end is counted once, at the latest when it is dropped.
struct CountedCall {
    usage: Usage,
    method: String,
    has_ended: bool,
}

impl CountedCall {
    fn begin(usage: Usage, method: String) -> Self {
        usage.lock().entry(method.clone()).or_default().begun += 1;
        Self {
            usage,
            method,
            has_ended: false,
        }
    }

    fn end(&mut self, code: Code, replies: u64) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let mut usage = self.usage.lock();
        if let Some(usage) = usage.get_mut(&self.method) {
            *usage.ended.entry(code.to_wire()).or_default() += 1;
            usage.replies += replies;
        }
    }
}

impl Drop for CountedCall {
    fn drop(&mut self) {
        self.end(Code::Cancelled, 0);
    }
}
