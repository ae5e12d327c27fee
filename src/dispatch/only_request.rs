//! The request of a method that takes one, if it came as a stream: its message and the end of the requests
//! travelled apart (docs/protocol.md, "Number of messages").

use bytes::Bytes;

use crate::{
    body::{Streaming, WrongCount, only_message},
    descriptor::MethodDescriptor,
    status::{Result, Status},
};

/// Waits for the request and for the end behind it.
///
/// # Errors
///
/// If there is not exactly one request, or the stream failed.
pub(super) async fn only_request(
    method: &MethodDescriptor,
    requests: Streaming<Bytes>,
) -> Result<Bytes> {
    let wrong = |count| {
        Status::unimplemented(match count {
            WrongCount::None => format!("`{method}` takes one request, and got none"),
            WrongCount::Several => format!("`{method}` takes one request, and got several"),
        })
    };
    let (request, _) = only_message(requests, wrong).await?;
    Ok(request)
}
