//! The status of a call: a code, a text, details, and a source for the log.

mod call_outcome;
mod convert;
mod details;
mod log;
mod site;

use std::{borrow::Cow, collections::BTreeSet, error::Error, fmt, sync::Arc};

use bytes::Bytes;
use wawo_protocol::{Code, Metadata, MetadataError};

pub(crate) use crate::status::site::{CallFailure, Carrier};
pub use crate::status::{convert::OrStatus, details::Detail};
use crate::{
    error_chain::ErrorChain,
    status::{details::Details, site::Site},
};

/// An error of any type, as tower's layers return them.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The result of a call, and of a handler.
pub type Result<T, E = Status> = std::result::Result<T, E>;

/// How a call failed. To turn another error into one, use
/// [`or_status`](crate::OrStatus::or_status) on the result, or implement `From<YourError> for
/// Status` and use `?`; for the error of a layer, there is [`from_error`](Self::from_error).
///
/// A handler returns it, and the caller receives code, message, details and metadata. The *source* stays
/// on this side, for the log. A status has the size of a pointer.
///
/// `Display` prints `NotFound: no such room`, and the source after that, if there is one; so do not send
/// that text to others. For a status that a call returned, the call comes first: `chat.v1.Chat/Join at
/// tcp://127.0.0.1:4000: NotFound: no such room`; see [`method`](Self::method) and
/// [`address`](Self::address). `Debug` adds the causes of the source, and whether the call may have been
/// served.
///
/// A status that a call returned remembers that it did. If a handler returns it, by `?` on a call of its
/// own, it is not passed on unchanged: the next service did not write it for our caller.
/// `DeadlineExceeded` and `Unavailable` keep their code, all others become `Internal`, with a neutral
/// text; the original becomes the source. [`forward`](Self::forward) passes it on unchanged.
#[derive(Clone)]
pub struct Status(Box<StatusParts>);

#[derive(Debug, Clone)]
struct StatusParts {
    code: Code,
    message: Cow<'static, str>,
    details: Details,
    metadata: Metadata,
    source: Option<Arc<dyn Error + Send + Sync>>,
    delivery: Delivery,
    is_returned: bool,
    site: Site,
    /// The limit of this side that the call met.
    limit: Option<&'static str>,
}

/// How far a failed call had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "not sent, perhaps, or surely")]
pub enum Delivery {
    /// No byte of it left this side, or the other side refused to serve it: its handler certainly did not
    /// run, and the call may be made again.
    NotSent,
    /// It was sent, and no reply came: its handler may have run, or not.
    Unknown,
    /// The other side, or a layer on the way, replied with this status.
    Responded,
}

impl Status {
    /// A status with a code and a text that the other side may read. A text of more than 4,096
    /// bytes is cut to that on the wire, and ends with a mark, `[cut: a text with 9000 bytes]`.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(StatusParts {
            code,
            message: message.into(),
            details: Details::default(),
            metadata: Metadata::new(),
            source: None,
            delivery: Delivery::Responded,
            is_returned: false,
            site: Site::default(),
            limit: None,
        }))
    }

    /// The code of the outcome.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The text of the outcome.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Adds a detail: the encoded bytes of a protobuf message, and the URL of its type. Details that do
    /// not fit into one packet together with the message are not sent; the message that arrives then ends
    /// with a mark, `[left out: details with 70000 bytes]`. The receiver gets the first 64 details.
    #[must_use = "returns the status with the detail"]
    pub fn with_detail(mut self, type_url: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.0.details.push(Detail {
            type_url: type_url.into(),
            value: value.into(),
        });
        self
    }

    /// The details, in order. Those from the other side are decoded when this is first called; there are
    /// at most 64 of them, and none if they cannot be decoded.
    pub fn details(&self) -> &[Detail] {
        self.0.details.get()
    }

    /// Adds metadata, which arrives with the status. If it exceeds a limit of the other side, none of it
    /// is sent; the message that arrives says so, as for details.
    ///
    /// # Errors
    ///
    /// If [`Metadata`] does not allow the key or the value.
    pub fn with_metadata(
        mut self,
        key: impl Into<Cow<'static, str>>,
        value: impl Into<Bytes>,
    ) -> std::result::Result<Self, MetadataError> {
        self.0.metadata.append(key, value)?;
        Ok(self)
    }

    /// The metadata that came, or will be sent, with the status.
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// Keeps the error that caused this status, for the log on this side; it is never sent.
    #[must_use = "returns the status with the source"]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// The error that caused this status, if this side knows it. [`Error::source`] begins with the cause
    /// of that error, since `Display` ends with this one.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// Adds the metadata that was set for a reply, except for keys that the status has itself.
    pub(crate) fn with_reply_metadata(mut self, reply: Metadata) -> Self {
        if reply.is_empty() {
            return self;
        }
        let own = std::mem::replace(&mut self.0.metadata, reply);
        let keys: BTreeSet<&str> = own.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.0.metadata.remove(key);
        }
        for (key, value) in own.iter() {
            // The entry comes from metadata, so it is valid.
            let _ = self.0.metadata.append(key.to_owned(), value.clone());
        }
        self
    }

    /// Moves the source into the text, so that the other side gets it.
    pub(crate) fn with_cause_in_text(mut self) -> Self {
        if let Some(cause) = self.0.source.take() {
            self.0.message = format!("{}: {cause}", self.0.message).into();
        }
        self
    }

    /// How far the call had come.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// Whether the call may be made again without being run twice.
    pub fn is_safe_to_retry(&self) -> bool {
        self.0.delivery == Delivery::NotSent
    }

    /// Whether the call that ends with this status was certainly not served. A status that another call
    /// returned says nothing about this one.
    pub(crate) fn is_refusal(&self) -> bool {
        self.0.delivery == Delivery::NotSent && !self.0.is_returned
    }

    /// Lets a handler pass on the status of a call that it made, unchanged.
    #[must_use = "returns the status that a handler may pass on"]
    pub fn forward(mut self) -> Self {
        self.0.is_returned = false;
        // It was met by the call that was made, and not by the one that ends with this status.
        self.0.limit = None;
        self
    }

    /// Sets how far the call had come; the default is `Responded`. It is for code that carries calls over
    /// a medium of its own, and for layers that refuse a call before its handler gets it: with
    /// [`NotSent`](Delivery::NotSent), the caller learns that it may make the call again.
    ///
    /// It has no effect in a status that a handler returns: the handler has run, so the call was
    /// responded to.
    #[must_use = "returns the status with the delivery"]
    pub fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.0.delivery = delivery;
        self
    }

    /// Records that the call met this limit of the side that serves it, by the name of the setting or layer.
    #[must_use = "returns the status with the limit"]
    pub(crate) fn with_limit(mut self, limit: &'static str) -> Self {
        self.0.limit = Some(limit);
        self
    }

    /// The limit of the side that serves the call, if the call met one.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        self.0.limit
    }

    /// The status that a handler's caller gets: the one rule for `?` on the status of a call that the
    /// handler made.
    pub(crate) fn into_handler_status(self) -> Self {
        if self.0.code == Code::Ok {
            let text = "the handler failed with a status that says that it did not";
            return Self::unknown(text).with_source(self);
        }
        if !self.0.is_returned {
            return self.with_delivery(Delivery::Responded).without_site();
        }
        let code = match self.0.code {
            code @ (Code::DeadlineExceeded | Code::Unavailable) => code,
            _ => Code::Internal,
        };
        Self::new(code, "a call to another service failed").with_source(self)
    }

    /// A status as it came from the other side.
    pub(crate) fn received(code: Code, text: String, metadata: Metadata, details: Bytes) -> Self {
        let mut status = Self::new(code, text);
        status.0.metadata = metadata;
        status.0.details = Details::received(&details);
        status
    }

    /// The details in the form of the end packet.
    pub(crate) fn encoded_details(&self) -> Bytes {
        self.0.details.encoded()
    }
}

/// One constructor for each code, all alike.
macro_rules! constructors {
    ($($name:ident $code:ident,)*) => {
        impl Status {
            $(
                #[doc = concat!("A status with [`Code::", stringify!($code), "`].")]
                pub fn $name(message: impl Into<Cow<'static, str>>) -> Self {
                    Self::new(Code::$code, message)
                }
            )*
        }
    };
}

constructors! {
    cancelled Cancelled,
    unknown Unknown,
    invalid_argument InvalidArgument,
    deadline_exceeded DeadlineExceeded,
    not_found NotFound,
    already_exists AlreadyExists,
    permission_denied PermissionDenied,
    resource_exhausted ResourceExhausted,
    failed_precondition FailedPrecondition,
    aborted Aborted,
    out_of_range OutOfRange,
    unimplemented Unimplemented,
    internal Internal,
    unavailable Unavailable,
    data_loss DataLoss,
    unauthenticated Unauthenticated,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.site, self.code())?;
        let message = self.message();
        if !message.is_empty() {
            write!(f, ": {message}")?;
        }
        let Some(cause) = self.cause() else {
            return Ok(());
        };
        let cause = cause.to_string();
        match message.ends_with(&cause) {
            true => Ok(()),
            false => write!(f, ": {cause}"),
        }
    }
}

/// Prints the whole chain of causes, since `main` prints errors with `Debug`.
impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&ErrorChain(self), f)?;
        f.write_str(match self.0.delivery {
            Delivery::NotSent => " (not served; it is safe to try again)",
            Delivery::Unknown => " (unknown whether it was served)",
            Delivery::Responded => "",
        })
    }
}

impl Error for Status {
    /// Begins after the [`cause`](Self::cause), which `Display` ends with.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref()?.source()
    }
}

#[cfg(test)]
mod tests {
    use wawo_protocol::{Code, Metadata};

    use super::{Delivery, Result, Status};
    use crate::descriptor::{Idempotency, MethodDescriptor, MethodTexts, Shape};

    static JOIN: MethodDescriptor = MethodDescriptor::new(
        &MethodTexts::new("chat.Chat/Join", "", ""),
        7,
        1,
        Shape::Unary,
        Idempotency::Unknown,
    );

    /// A status as a call would return it.
    fn returned(status: Status) -> Status {
        status.of_call(&JOIN, None)
    }

    #[test]
    fn a_status_of_a_call_says_which_and_one_of_a_handler_does_not() {
        let address = "tcp://127.0.0.1:4000".parse().unwrap();
        let status = returned(Status::not_found("no such room").at(Some(&address)));
        let text = "chat.Chat/Join at tcp://127.0.0.1:4000: NotFound: no such room";
        assert_eq!(status.to_string(), text);
        assert_eq!(status.method(), Some(&JOIN));
        assert_eq!(status.address(), Some(&address));
        assert_eq!(status.message(), "no such room");
        let carried = returned(Status::not_found("no such room").with_address(address));
        assert_eq!(carried.to_string(), text);
        let here = returned(Status::not_found("").in_process());
        assert_eq!(here.to_string(), "chat.Chat/Join in this process: NotFound");
        // The status that a handler returns contains nothing of the calls that it made.
        for answered in [
            status.clone().into_handler_status(),
            status.clone().forward().into_handler_status(),
        ] {
            assert_eq!((answered.method(), answered.address()), (None, None));
            assert!(!answered.message().contains("Join"), "{answered}");
        }
        let forwarded = status.forward().into_handler_status().to_string();
        assert_eq!(forwarded, "NotFound: no such room");
    }

    #[test]
    fn what_a_status_prints_says_in_words_whether_it_was_served() {
        let status = Status::unavailable("gone");
        for (delivery, text) in [
            (
                Delivery::NotSent,
                "Unavailable: gone (not served; it is safe to try again)",
            ),
            (
                Delivery::Unknown,
                "Unavailable: gone (unknown whether it was served)",
            ),
            (Delivery::Responded, "Unavailable: gone"),
        ] {
            let status = status.clone().with_delivery(delivery);
            assert_eq!(format!("{status:?}"), text);
        }
    }

    #[test]
    fn metadata_of_the_reply_goes_with_the_status_whose_own_has_the_last_word() {
        let mut reply = Metadata::new();
        for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
            reply.append(key, value).unwrap();
        }
        let status = Status::aborted("no").with_metadata("a", "4").unwrap();
        let status = status.with_metadata("a", "5").unwrap();
        let status = status.with_reply_metadata(reply);
        let all: Vec<_> = status.metadata().iter().collect();
        let all: Vec<_> = all.iter().map(|(key, value)| (*key, &value[..])).collect();
        assert_eq!(all, [("b", &b"2"[..]), ("a", b"4"), ("a", b"5")]);
    }

    #[test]
    fn a_status_is_one_pointer_wide() {
        assert_eq!(size_of::<Result<(), Status>>(), size_of::<usize>());
    }

    #[test]
    fn details_come_back_as_they_were() {
        let status = Status::not_found("no such room").with_detail("type/a", vec![1, 2]);
        let received = Status::received(
            status.code(),
            status.message().to_owned(),
            Metadata::new(),
            status.encoded_details(),
        );
        assert_eq!(received.details(), status.details());
        assert_eq!(received.to_string(), "NotFound: no such room");
    }

    #[test]
    fn the_status_of_a_call_does_not_leak_through_a_handler() {
        let inner = Status::invalid_argument("secret").with_detail("type/a", vec![1]);
        let outer = returned(inner).into_handler_status();
        assert_eq!(outer.code(), Code::Internal);
        assert_eq!(outer.message(), "a call to another service failed");
        assert!(outer.details().is_empty());
        assert!(outer.cause().unwrap().to_string().contains("secret"));
    }

    #[test]
    fn a_passed_deadline_and_unavailability_keep_their_code_through_a_handler() {
        for code in [Code::DeadlineExceeded, Code::Unavailable] {
            let status = Status::new(code, "secret").with_delivery(Delivery::NotSent);
            let outer = returned(status).into_handler_status();
            assert_eq!(outer.code(), code);
            assert!(!outer.message().contains("secret"));
            assert!(!outer.is_safe_to_retry());
        }
    }

    #[test]
    fn a_failure_that_says_ok_is_none_the_less_a_failure() {
        let status = Status::new(Code::Ok, "fine").into_handler_status();
        assert_eq!(status.code(), Code::Unknown);
    }

    #[test]
    fn forward_passes_a_status_on_as_it_is() {
        let status = returned(Status::invalid_argument("for all to see"));
        let outer = status.forward().into_handler_status();
        assert_eq!(outer.message(), "for all to see");
    }
}
