//! Items that a stream of messages can be made of.

use crate::status::Result;

/// An item of a stream of messages: a message, or the `Result` of one. So both directions of a call take
/// any stream of messages, and any stream of results, and a [`Streaming`](crate::Streaming) among them:
/// one that came can be handed on as it is.
///
/// An error is the last item of its stream. In a stream of requests, it cancels the call, which then ends
/// with that status; in a stream of replies, it is the status of the call. So a stream that was cut never
/// looks like one that has ended well. Over [`InProcess`](crate::InProcess), the handler gets the error of
/// the requests itself, in place of `Cancelled`, and says how the call ends.
///
/// Errors of other types become a [`Status`](crate::Status) by [`OrStatus`](crate::OrStatus).
#[diagnostic::on_unimplemented(
    message = "a stream of `{Self}` is not a stream of `{T}`",
    label = "the items must be `{T}`, or `wawo::Result<{T}>`",
    note = "an error of another type becomes a status by `or_status`"
)]
pub trait StreamItem<T> {
    /// The message, or the error that ends the stream.
    fn into_result(self) -> Result<T>;
}

impl<T> StreamItem<T> for T {
    #[inline]
    fn into_result(self) -> Result<T> {
        Ok(self)
    }
}

impl<T> StreamItem<T> for Result<T> {
    #[inline]
    fn into_result(self) -> Self {
        self
    }
}
