//! Makes one reply of a stream that has to hold one: a reply that travels apart from the end of its call.

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
            let wrong = |count| wrong_replies(&method, count).carried_by(carrier);
            let (message, trailing) = only_message(replies, wrong).await?;
            metadata.extend(trailing);
            message.into()
        }
    };
    Ok(Response::new(metadata, Body::One(message)))
}

#[cold]
pub(super) fn wrong_replies(method: &MethodDescriptor, count: WrongCount) -> Status {
    Status::unimplemented(match count {
        WrongCount::None => format!("`{method}` has one reply, and the callee sent none"),
        WrongCount::Several => format!("`{method}` has one reply, and the callee sent several"),
    })
}
