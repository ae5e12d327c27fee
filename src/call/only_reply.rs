//! The reply of a method that has one, if it came as a stream: its message and the end of the call travelled
//! apart (docs/protocol.md, "Number of messages").

use std::sync::Arc;

use crate::{
    body::{Body, WrongCount, only_message},
    descriptor::{MethodDescriptor, MethodRef},
    response::Response,
    status::{Carrier, Result, Status},
};

/// Makes a response with one message of a response whose body is a stream.
pub(super) async fn only_reply(
    method: MethodRef,
    carrier: Option<Arc<dyn Carrier>>,
    response: Response,
) -> Result<Response> {
    let (mut metadata, body) = response.into_wire_parts();
    let message = match body {
        Body::One(message) => message,
        Body::Many(replies) => {
            let only = only_message(replies, |count| wrong_replies(&method, count)).await;
            let (message, trailing) = only.map_err(|status| status.carried_by(carrier))?;
            metadata.extend(trailing);
            message.into()
        }
    };
    Ok(Response::new(metadata, Body::One(message)))
}

/// The status of a call whose callee sent none or several replies where there is one.
#[cold]
pub(super) fn wrong_replies(method: &MethodDescriptor, count: WrongCount) -> Status {
    Status::unimplemented(match count {
        WrongCount::None => format!("`{method}` has one reply, and the callee sent none"),
        WrongCount::Several => format!("`{method}` has one reply, and the callee sent several"),
    })
}
