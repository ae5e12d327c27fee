//! A stream whose messages are pushed into it by a future that is a part of the stream.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use crate::{
    body::{
        channel::{ChannelStream, Sender, channel},
        streaming::Streaming,
    },
    status::{Result, Status},
};
use futures_core::Stream;
use pin_project_lite::pin_project;

impl<T> Streaming<T> {
    /// A stream of the items that an asynchronous function pushes; at most `capacity` items wait for the
    /// reader. It is the way to push items where each may fail: the stream ends well when the function
    /// returns `Ok`, and with its status when it returns an error, so `?` never turns a cut into an end.
    ///
    /// ```
    /// use wawo::{Result, Streaming};
    ///
    /// /// The sums of the numbers so far.
    /// fn sums(mut numbers: Streaming<u64>) -> Streaming<u64> {
    ///     Streaming::produce(16, async move |sums| {
    ///         let mut sum = 0;
    ///         while let Some(number) = numbers.message().await? {
    ///             sum += number;
    ///             sums.send(sum).await?;
    ///         }
    ///         Ok(())
    ///     })
    /// }
    /// ```
    ///
    /// The function needs no task: it runs when the stream is read, in the context of the handler that
    /// returns the stream, and is dropped with the stream. So it makes no progress while nobody reads.
    ///
    /// # Panics
    ///
    /// If `capacity` is zero, or above `usize::MAX >> 3`. A panic of the function ends its call with
    /// `Internal`.
    pub fn produce<F>(capacity: usize, function: impl FnOnce(Sender<T>) -> F) -> Self
    where
        T: Send + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (sender, items) = channel(capacity);
        Self::new(ProducerStream {
            producer: Some(function(sender)),
            items,
            failure: None,
        })
    }
}

pin_project! {
    /// The items of a producer, then the error that it returned.
    struct ProducerStream<T, F> {
        // `None` once it has ended.
        #[pin]
        producer: Option<F>,
        items: ChannelStream<T>,
        // The error of the producer, which follows the items before it.
        failure: Option<Status>,
    }
}

impl<T, F: Future<Output = Result<()>>> Stream for ProducerStream<T, F> {
    type Item = Result<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let mut this = self.project();
        if let Some(item) = this.items.try_next() {
            return Poll::Ready(Some(item));
        }
        if let Some(producer) = this.producer.as_mut().as_pin_mut()
            && let Poll::Ready(result) = producer.poll(cx)
        {
            this.producer.set(None);
            if let Err(status) = result {
                // Clones of the sender may live on elsewhere.
                this.items.close();
                *this.failure = Some(status);
            }
        }
        let item = ready!(Pin::new(this.items).poll_next(cx));
        Poll::Ready(item.or_else(|| this.failure.take().map(Err)))
    }
}

#[cfg(test)]
mod tests {
    use wawo_protocol::Code;

    use crate::{
        body::{StreamEnd, Streaming},
        status::{Result, Status},
    };

    #[tokio::test]
    async fn items_come_before_the_end_of_their_producer() {
        for (result, end) in [
            (Ok(()), StreamEnd::Completed),
            (
                Err(Status::data_loss("cut")),
                StreamEnd::Failed(Code::DataLoss),
            ),
        ] {
            let code = result.as_ref().err().map(Status::code);
            let mut numbers = Streaming::produce(2, async move |numbers| {
                for number in 0..5 {
                    numbers.send(number).await?;
                }
                result
            });
            for number in 0..5 {
                assert_eq!(numbers.message().await.unwrap(), Some(number));
            }
            let last = numbers.message().await;
            assert_eq!(last.err().map(|status| status.code()), code);
            assert_eq!(numbers.end(), Some(end));
        }
    }

    #[tokio::test]
    async fn an_error_ends_the_stream_while_a_clone_of_the_sender_lives() {
        let mut kept = None;
        let mut numbers = Streaming::produce(1, |numbers| {
            kept = Some(numbers.clone());
            async move { numbers.send(1).await.and(Err(Status::aborted("enough"))) }
        });
        assert_eq!(numbers.message().await.unwrap(), Some(1));
        assert_eq!(numbers.message().await.unwrap_err().message(), "enough");
        assert!(kept.unwrap().is_closed());
    }

    #[tokio::test]
    async fn a_panic_that_drops_a_clone_of_the_sender_fails_the_stream() {
        let mut numbers = Streaming::produce(1, async move |numbers| {
            let clone = numbers.clone();
            numbers.send(1).await?;
            let task = tokio::spawn(async move {
                let _clone = clone;
                panic!("planned");
            });
            assert!(task.await.unwrap_err().is_panic());
            Ok(())
        });
        assert_eq!(numbers.message().await.unwrap(), Some(1));
        let status = numbers.message().await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
    }

    #[tokio::test]
    async fn a_question_mark_does_not_turn_a_cut_into_an_end() {
        let cut = futures::stream::iter([Ok(1), Err(Status::data_loss("cut"))]);
        let mut cut = Streaming::<u8>::new(cut);
        let mut handed_on = Streaming::produce(1, async move |items| -> Result<()> {
            while let Some(item) = cut.message().await? {
                items.send(item).await?;
            }
            Ok(())
        });
        assert_eq!(handed_on.message().await.unwrap(), Some(1));
        let status = handed_on.message().await.unwrap_err();
        assert_eq!(status.code(), Code::DataLoss);
    }
}
