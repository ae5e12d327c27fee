//! The fields of a call, in the order of docs/observability.md. A field without a value is left out.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use wawo_protocol::Metadata;

use crate::{
    call_side::CallSide,
    identity::Identity,
    observe::{
        access_log::line::{Form, Line, Shown, column, name},
        call::{CallSummary, ObservedCall},
    },
    status::Delivery,
};

/// The choice of fields that depend on the application.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    pub(super) identity: Option<PrintIdentity>,
    pub(super) keys: Arc<[AllowedKey]>,
}

/// Prints identities of one type.
#[derive(Clone)]
pub(super) struct PrintIdentity(Arc<PrintInto>);

type PrintInto = dyn Fn(&Identity, &mut Line<'_>) + Send + Sync;

impl PrintIdentity {
    pub(super) fn new<U, D>(print: impl Fn(&U) -> D + Send + Sync + 'static) -> Self
    where
        U: Send + Sync + 'static,
        D: fmt::Display,
    {
        Self(Arc::new(move |identity, line| {
            if let Some(user) = identity.get::<U>() {
                line.display(name!("identity"), &print(user));
            }
        }))
    }
}

impl fmt::Debug for PrintIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrintIdentity")
    }
}

/// A key of metadata that may be logged.
#[derive(Debug)]
pub(super) struct AllowedKey {
    key: String,
    is_secret: bool,
    is_binary: bool,
}

impl AllowedKey {
    pub(super) fn new(key: &str) -> Self {
        let key = key.to_ascii_lowercase();
        Self {
            is_secret: Metadata::is_secret(&key),
            is_binary: key.ends_with("-bin"),
            key,
        }
    }

    /// The value that the application sees too: the first of this key.
    fn of<'a>(&self, metadata: &'a Metadata) -> Option<Shown<'a>> {
        let value = metadata.bytes(&self.key)?;
        Some(match self.is_secret {
            true => Shown::Secret,
            false if self.is_binary => Shown::Binary(value),
            false => Shown::Text(value),
        })
    }
}

impl Fields {
    /// Adds the line of a call that ended at this time.
    pub(super) fn push_line(
        &self,
        text: &mut Vec<u8>,
        form: Form,
        time: SystemTime,
        call: &ObservedCall<'_>,
        end: &CallSummary<'_>,
    ) {
        let mut line = Line::begin(text, form, time);
        line.plain(column!("side"), call.side().name());
        line.text(column!("method"), call.path());
        line.plain(column!("code"), end.code.name());
        if !end.text.is_empty() {
            line.text(name!("text"), end.text);
        }
        self.push_caller(&mut line, call);
        line.text(name!("protocol"), call.protocol());
        push_times(&mut line, call.side(), end);
        push_messages(&mut line, end);
        if call.side() == CallSide::Client {
            line.number(name!("attempts"), end.attempts.into());
        }
        if let Some(delivery) = end.delivery {
            line.plain(name!("delivery"), delivery_name(delivery));
        }
        line.number(name!("depth"), call.call_depth().into());
        if let Some(trace) = call.trace_context() {
            line.hex(name!("trace_id"), trace.trace_id);
            line.hex(name!("span_id"), trace.span_id);
        }
        let metadata = call.metadata();
        let entries = self.keys.iter();
        line.metadata(entries.filter_map(|key| Some((&*key.key, key.of(metadata)?))));
        line.end();
    }

    fn push_caller(&self, line: &mut Line<'_>, call: &ObservedCall<'_>) {
        if let Some(peer) = call.peer() {
            line.number(name!("peer"), peer.number());
        }
        if let (Some(print), Some(identity)) = (&self.identity, call.identity()) {
            (print.0)(identity, line);
        }
        if let Some(address) = call.address() {
            line.display(name!("remote"), address);
        }
    }
}

fn push_times(line: &mut Line<'_>, side: CallSide, end: &CallSummary<'_>) {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    if side == CallSide::Server {
        line.number(name!("queued_us"), micros(end.queued));
    }
    if let Some(first) = end.first_reply {
        line.number(name!("first_reply_us"), micros(first));
    }
    line.number(name!("duration_us"), micros(end.took));
}

fn push_messages(line: &mut Line<'_>, end: &CallSummary<'_>) {
    line.number(name!("request_messages"), end.request_messages);
    line.number(name!("request_bytes"), end.request_bytes);
    line.number(name!("reply_messages"), end.reply_messages);
    line.number(name!("reply_bytes"), end.reply_bytes);
}

fn delivery_name(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::NotSent => "not_sent",
        Delivery::Unknown => "unknown",
        Delivery::Responded => "responded",
    }
}
