//! Reads a stream that has to hold one message: a unary message that travels apart from the end of its
//! direction (docs/protocol.md, "Number of messages").

use bytes::Bytes;
use wawo_protocol::Metadata;

use crate::{
    body::Streaming,
    status::{Result, Status},
};

/// The other side sent no message, or several, where its schema has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WrongCount {
    None,
    Several,
}

/// Waits for the message and for the end behind it. Returns both: the message, and the metadata that came
/// with the end. At most two messages are taken out of the stream.
///
/// # Errors
///
/// The status with which the stream ended; if it has not exactly one message, the status that `wrong`
/// makes.
pub(crate) async fn only_message(
    mut messages: Streaming<Bytes>,
    wrong: impl FnOnce(WrongCount) -> Status,
) -> Result<(Bytes, Metadata)> {
    let Some(message) = messages.message().await? else {
        return Err(wrong(WrongCount::None));
    };
    match messages.message().await? {
        None => Ok((message, messages.take_trailing_metadata())),
        Some(_) => Err(wrong(WrongCount::Several)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::stream;

    use super::{WrongCount, only_message};
    use crate::{
        body::Streaming,
        status::{Result, Status},
    };

    async fn only(items: &[Result<&'static str>]) -> Result<Bytes> {
        let items = items.to_vec();
        let items = items.into_iter().map(|item| item.map(Bytes::from));
        let wrong = |count| match count {
            WrongCount::None => Status::unimplemented("none"),
            WrongCount::Several => Status::unimplemented("several"),
        };
        let only = only_message(Streaming::new(stream::iter(items)), wrong).await;
        only.map(|(message, _)| message)
    }

    #[tokio::test]
    async fn one_message_is_right_and_any_other_number_is_not() {
        assert_eq!(only(&[Ok("a")]).await.unwrap(), "a");
        assert_eq!(only(&[]).await.unwrap_err().message(), "none");
        let several = only(&[Ok("a"), Ok("b"), Err(Status::aborted("not read"))]).await;
        assert_eq!(several.unwrap_err().message(), "several");
        for before in [&[][..], &[Ok("a")]] {
            let failed = [before, &[Err(Status::aborted("no"))]].concat();
            assert_eq!(only(&failed).await.unwrap_err().message(), "no");
        }
    }
}
