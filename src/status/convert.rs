//! Turns errors into statuses.
//!
//! The rule: if a module has an *error* of another part (of a layer, a connection, a codec, a panic), it
//! turns it into a status by a function of this file. So one file says which code each error has, which
//! text its caller gets, and whether the call may be made again. If a module *finds* the fault itself (a
//! limit that is exceeded, a service that is not there), there is no conversion: the module makes the
//! status itself.
//!
//! | error of | code | delivery |
//! |---|---|---|
//! | a layer ([`Status::from_error`]) | see there | see there |
//! | metadata | `InvalidArgument` | responded |
//! | a codec: the request | `InvalidArgument` | responded |
//! | a codec: the reply | `Internal` | responded |
//! | a panic | `Internal` | responded |
//! | a connection: before the call was sent | `Unavailable` | not sent |
//! | a connection: after that | `Unavailable` | unknown |
//! | the protocol, which refuses a call: a limit | `ResourceExhausted` | not sent |
//! | the protocol, which refuses a call: else | `Unavailable` | not sent |
//! | the protocol, which refuses a message of a stream | `ResourceExhausted` | responded |
//! | a runtime that drops the work on a call | `Unavailable` | responded |

use std::{borrow::Cow, error::Error, fmt};

use tokio::task::JoinError;
use tower::{buffer, load_shed, timeout};
use wawo_protocol::{Code, ConnectionError, MetadataError, Refusal};

use crate::{
    descriptor::MethodDescriptor,
    status::{BoxError, Delivery, Result, Status},
};

impl Status {
    /// The status for an error of any type, as layers return it. It is that of the first error in the
    /// chain, beginning with the error itself, that says how a call ended.
    ///
    /// | in the chain | status |
    /// |---|---|
    /// | a [`Status`] | that one, as it is |
    /// | `Elapsed` of tower's or tokio's `timeout` | `DeadlineExceeded` |
    /// | `Overloaded` of tower's `load_shed` | `ResourceExhausted`; the call was [not sent](Delivery::NotSent) |
    /// | `Closed` of tower's `buffer`, whose worker has ended | `Unavailable` |
    /// | none of these | `Internal`, with a neutral text |
    ///
    /// The error becomes the [`cause`](Self::cause) of the status, which is logged and never sent. A
    /// boxed [`Status`] is returned unchanged.
    ///
    /// ```
    /// use wawo::{BoxError, Code, Status};
    ///
    /// let error = BoxError::from("the disk is full");
    /// let status = Status::from_error(error);
    /// assert_eq!((status.code(), status.message()), (Code::Internal, "internal error"));
    /// ```
    pub fn from_error(error: impl Into<BoxError>) -> Self {
        let error = match error.into().downcast::<Self>() {
            Ok(status) => return *status,
            Err(error) => error,
        };
        let mut next: Option<&(dyn Error + 'static)> = Some(error.as_ref());
        while let Some(link) = next {
            if let Some(status) = known(link) {
                return status.with_source(error);
            }
            next = link.source();
        }
        Self::internal("internal error").with_source(error)
    }

    /// A panic in code of the application. `said` is the text for the caller. `panic`, the message of the
    /// panic, becomes the source.
    #[cold]
    pub(crate) fn from_panic(said: &'static str, panic: &str) -> Self {
        Self::internal(said).with_source(Panic(panic.to_owned()))
    }

    /// Whether a panic in code of the application has made this status.
    pub(crate) fn is_panic(&self) -> bool {
        self.cause().is_some_and(|cause| cause.is::<Panic>())
    }

    /// The status of a request that this side cannot decode.
    #[cold]
    pub(crate) fn from_bad_request(
        method: &MethodDescriptor,
        length: usize,
        error: BoxError,
    ) -> Self {
        let text =
            format!("the request of {length} bytes for `{method}` cannot be decoded: {error}");
        Self::invalid_argument(text).with_source(error)
    }

    /// The status of a reply that this side cannot decode.
    #[cold]
    pub(crate) fn from_bad_reply(
        method: &MethodDescriptor,
        length: usize,
        error: BoxError,
    ) -> Self {
        let text = format!("the reply of {length} bytes to `{method}` cannot be decoded: {error}");
        Self::internal(text).with_source(error)
    }

    /// The status of a call whose connection was over before it was sent.
    #[cold]
    pub(crate) fn from_closed(error: &ConnectionError) -> Self {
        Self::unavailable(format!("the call was not sent: {error}"))
            .with_source(error.clone())
            .with_delivery(Delivery::NotSent)
    }

    /// The status of a call whose connection was lost after it was sent; `so_far` says how far it had
    /// come.
    #[cold]
    pub(crate) fn from_lost(so_far: impl fmt::Display, error: &ConnectionError) -> Self {
        Self::unavailable(format!("{so_far}: {error}"))
            .with_source(error.clone())
            .with_delivery(Delivery::Unknown)
    }

    /// The status of a one-way message whose body is a stream, which no connection can carry.
    #[cold]
    pub(crate) fn from_one_way_stream() -> Self {
        let text =
            "a one-way message is a single message, and this body is a stream: use `Body::One`";
        Self::invalid_argument(text).with_delivery(Delivery::NotSent)
    }

    /// The status of a call that was cancelled while it was in flight.
    pub(crate) fn from_cancel() -> Self {
        Self::cancelled("the call was cancelled")
    }

    /// The status of a stream of requests whose connection was lost while a handler read it.
    #[cold]
    pub(crate) fn from_lost_requests(error: &ConnectionError) -> Self {
        Self::unavailable(format!("no more requests: {error}")).with_delivery(Delivery::Unknown)
    }

    /// The status of a call that was not started, or certainly not served.
    #[cold]
    pub(crate) fn from_refusal(reason: &Refusal) -> Self {
        let code = match reason {
            Refusal::MessageTooLarge { .. }
            | Refusal::MetadataTooLarge { .. }
            | Refusal::NoSlot { .. }
            | Refusal::Full(_) => Code::ResourceExhausted,
            _ => Code::Unavailable,
        };
        Self::new(code, format!("the call was not sent: {reason}")).with_delivery(Delivery::NotSent)
    }

    /// The status of a stream of which a message was not sent.
    #[cold]
    pub(crate) fn from_refused_message(reason: &Refusal) -> Self {
        let text = format!("a message of the stream is too large: {reason}");
        Self::resource_exhausted(text).with_limit(reason.reason())
    }

    /// The status of a call whose work the runtime has dropped. Panics are caught before, so the error is
    /// no panic.
    #[cold]
    pub(crate) fn from_shutdown(_: &JoinError) -> Self {
        Self::unavailable("the runtime of the handler shuts down")
    }
}

/// The status for an error of a layer, if it says how a call ended.
fn known(error: &(dyn Error + 'static)) -> Option<Status> {
    if let Some(status) = error.downcast_ref::<Status>() {
        return Some(status.clone());
    }
    if error.is::<timeout::error::Elapsed>() || error.is::<tokio::time::error::Elapsed>() {
        return Some(Status::deadline_exceeded("the service took too long"));
    }
    if error.is::<load_shed::error::Overloaded>() {
        let status = Status::resource_exhausted("the service is overloaded");
        return Some(status.with_delivery(Delivery::NotSent));
    }
    if error.is::<buffer::error::Closed>() {
        return Some(Status::unavailable("the service has stopped"));
    }
    None
}

impl From<MetadataError> for Status {
    fn from(error: MetadataError) -> Self {
        Self::invalid_argument(error.to_string()).with_source(error)
    }
}

/// The message of a panic, as the source of a status.
#[derive(Debug)]
struct Panic(String);

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Panic {}

/// Turns the failure of a `Result`, or the `None` of an `Option`, into a [`Status`].
///
/// ```
/// use wawo::{Code, OrStatus, Result};
///
/// fn parse(number: &str) -> Result<u32> {
///     number.parse().or_status(Code::InvalidArgument, "bad number")
/// }
/// assert_eq!(parse("x").unwrap_err().code(), Code::InvalidArgument);
/// ```
pub trait OrStatus<T> {
    /// The value, or a status with this code and text; an error becomes its source.
    ///
    /// # Errors
    ///
    /// If there is no value.
    fn or_status(self, code: Code, message: impl Into<Cow<'static, str>>) -> Result<T>;
}

impl<T, E: Into<BoxError>> OrStatus<T> for std::result::Result<T, E> {
    fn or_status(self, code: Code, message: impl Into<Cow<'static, str>>) -> Result<T> {
        self.map_err(|error| Status::new(code, message).with_source(error))
    }
}

impl<T> OrStatus<T> for Option<T> {
    fn or_status(self, code: Code, message: impl Into<Cow<'static, str>>) -> Result<T> {
        self.ok_or_else(|| Status::new(code, message))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tower::{load_shed::error::Overloaded, timeout::error::Elapsed};
    use wawo_protocol::{Code, ConnectionError, Refusal};

    use super::OrStatus;
    use crate::status::{BoxError, Delivery, Status};

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] BoxError);

    #[test]
    fn errors_of_towers_layers_become_the_right_status() {
        for (error, code) in [
            (BoxError::from(Elapsed::new()), Code::DeadlineExceeded),
            (BoxError::from(Overloaded::new()), Code::ResourceExhausted),
            (BoxError::from(Status::not_found("room")), Code::NotFound),
            (BoxError::from("secret"), Code::Internal),
        ] {
            let text = error.to_string();
            assert_eq!(Status::from_error(error).code(), code, "{text}");
        }
    }

    #[test]
    fn a_known_error_is_found_behind_others() {
        let error = Wrapped(Wrapped(Overloaded::new().into()).into());
        let status = Status::from_error(error);
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.is_safe_to_retry());
        let error = Wrapped(Status::not_found("room").into());
        assert_eq!(Status::from_error(error).message(), "room");
    }

    #[test]
    fn the_text_of_an_unknown_error_stays_here() {
        let status = Status::from_error("secret");
        assert!(!status.message().contains("secret"));
        assert_eq!(status.cause().unwrap().to_string(), "secret");
    }

    #[test]
    fn only_calls_that_were_not_sent_may_be_made_again() {
        let lost = ConnectionError::Lost(Arc::new(std::io::Error::other("a cut")));
        let full = Refusal::Full(3);
        for (status, code, delivery) in [
            (
                Status::from_closed(&lost),
                Code::Unavailable,
                Delivery::NotSent,
            ),
            (
                Status::from_lost("sent", &lost),
                Code::Unavailable,
                Delivery::Unknown,
            ),
            (
                Status::from_refusal(&full),
                Code::ResourceExhausted,
                Delivery::NotSent,
            ),
            (
                Status::from_refusal(&Refusal::Draining),
                Code::Unavailable,
                Delivery::NotSent,
            ),
            (
                Status::from_refused_message(&full),
                Code::ResourceExhausted,
                Delivery::Responded,
            ),
        ] {
            let found = (status.code(), status.delivery());
            assert_eq!(found, (code, delivery), "{status}");
        }
    }

    #[test]
    fn results_and_options_become_statuses() {
        let status = "x"
            .parse::<u8>()
            .or_status(Code::InvalidArgument, "bad number");
        let status = status.unwrap_err();
        assert!(status.cause().unwrap().to_string().contains("digit"));
        let status = None::<()>
            .or_status(Code::NotFound, "no such room")
            .unwrap_err();
        assert_eq!(status.to_string(), "NotFound: no such room");
    }
}
