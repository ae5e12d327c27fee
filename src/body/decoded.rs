//! Decodes the messages of a stream, a batch at a time.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use wawo_protocol::{Metadata, packet::Batch};

use crate::{
    body::items::{Items, MessageBatch, Source},
    decoding::StreamMemory,
    status::{Result, Status},
    wake_io,
};

/// Decodes the messages of another stream.
pub(crate) struct DecodedStream<F, G> {
    encoded: Box<Source<Bytes>>,
    taken: Batch,
    /// The status of the message after the last batch, if it cannot be decoded.
    undecodable: Option<Status>,
    memory: StreamMemory,
    decode: F,
    failed: G,
}

/// How many messages are decoded ahead of their reader, at most.
const BATCH_MESSAGES: usize = 32;

/// Decoding ahead stops once the decoded messages had this many bytes.
const BATCH_BYTES: usize = 4 * 1024;

/// How many bytes the types of the messages decoded ahead may take together. One message may always be
/// decoded.
const BATCH_SLOTS_BYTES: usize = 64 * 1024;

// Nothing in it is pinned: the stream is in a box of its own.
impl<F, G> Unpin for DecodedStream<F, G> {}

impl<F, G> DecodedStream<F, G> {
    pub(crate) fn new(
        encoded: Box<Source<Bytes>>,
        decode: F,
        memory: StreamMemory,
        failed: G,
    ) -> Self {
        Self {
            encoded,
            taken: Batch::default(),
            undecodable: None,
            memory,
            decode,
            failed,
        }
    }

    /// Decodes a few of the taken messages, up to the first one that cannot be decoded.
    fn decode_few<R>(&mut self, batch: &mut VecDeque<R>)
    where
        F: FnMut(&[u8], &Bytes, &mut VecDeque<R>) -> Result<()>,
        G: Fn(Status) -> Status,
    {
        let (messages, bytes) = (self.taken.len(), self.taken.message_bytes());
        let most = (BATCH_SLOTS_BYTES / size_of::<R>().max(1)).clamp(1, BATCH_MESSAGES);
        let (decode, memory) = (&mut self.decode, &mut self.memory);
        let takes_little = memory.takes_little(&self.taken, most, BATCH_BYTES);
        batch.reserve(messages.min(most));
        while batch.len() < most && bytes - self.taken.message_bytes() < BATCH_BYTES {
            let taken = &mut self.taken;
            if !takes_little && let Some(next) = taken.peek() {
                match memory.take(next) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(status) => {
                        self.undecodable = Some((self.failed)(status));
                        break;
                    }
                }
            }
            match taken.read_next(|bytes, whole| decode(bytes, whole, batch)) {
                Some(Ok(())) => {}
                Some(Err(status)) => {
                    self.undecodable = Some(status);
                    break;
                }
                None => break,
            }
        }
        let messages = messages - self.taken.len();
        let bytes = bytes - self.taken.message_bytes();
        if messages > 0 {
            self.encoded.items.as_mut().read(messages, bytes);
        }
    }
}

impl<R, F, G> Items<R> for DecodedStream<F, G>
where
    F: FnMut(&[u8], &Bytes, &mut VecDeque<R>) -> Result<()> + Send,
    G: Fn(Status) -> Status + Send,
{
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<R>,
    ) -> Poll<Option<Result<R>>> {
        let this = &mut *self;
        if batch.is_empty() {
            this.memory.begin_batch();
        }
        loop {
            if let Some(item) = batch.pop_front() {
                return Poll::Ready(Some(Ok(item)));
            }
            if let Some(status) = this.undecodable.take() {
                return Poll::Ready(Some(Err(status)));
            }
            if this.taken.len() > 0 && !this.encoded.items.is_cancelled() {
                this.decode_few(batch);
                continue;
            }
            let encoded = &mut *this.encoded;
            let items = encoded.items.as_mut();
            match ready!(items.poll_batch(cx, &mut encoded.batch)) {
                Some(Ok(MessageBatch::Many(messages))) => {
                    wake_io::before_decoding(messages.message_bytes());
                    this.taken = messages;
                }
                Some(Ok(MessageBatch::One(bytes))) => {
                    wake_io::before_decoding(bytes.len());
                    let taken = this.memory.take_one(&bytes).map_err(&this.failed);
                    let decoded = taken.and_then(|()| (this.decode)(&bytes, &bytes, batch));
                    this.undecodable = decoded.err();
                }
                Some(Err(status)) => return Poll::Ready(Some(Err((this.failed)(status)))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn take_trailing_metadata(mut self: Pin<&mut Self>) -> Metadata {
        self.encoded.items.as_mut().take_trailing_metadata()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        pin::Pin,
        sync::{Arc, Mutex},
        task::{Context, Poll},
    };

    use bytes::Bytes;
    use futures::StreamExt as _;
    use wawo_protocol::{
        CallId, Side,
        packet::{Batch, BatchBuilder},
    };

    use super::{BATCH_BYTES, BATCH_MESSAGES, Items, MessageBatch};
    use crate::{
        body::Streaming,
        codec::Prost,
        decoding::StreamMemory,
        descriptor::{Idempotency, MethodDescriptor, MethodTexts, Shape},
        layout::Layout,
        status::{Result, Status},
    };

    /// A stream of one batch, which counts how many of its messages were read, and is cancelled after
    /// `most`.
    struct OneBatch {
        messages: Option<Batch>,
        most: usize,
        read: Arc<Mutex<(usize, usize)>>,
    }

    impl OneBatch {
        fn of(texts: &[&str]) -> (Self, Arc<Mutex<(usize, usize)>>) {
            let mut packets = BatchBuilder::new(CallId::new(Side::Accepting, 0));
            for text in texts {
                packets.push(|buffer| buffer.extend_from_slice(text.as_bytes()));
            }
            let (messages, read) = (Some(packets.take()), Arc::default());
            let one = Self {
                messages,
                most: usize::MAX,
                read: Arc::clone(&read),
            };
            (one, read)
        }
    }

    impl Items<Bytes> for OneBatch {
        fn poll_item(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut VecDeque<Bytes>,
        ) -> Poll<Option<Result<Bytes>>> {
            panic!("pieces are asked for")
        }

        fn poll_batch(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut VecDeque<Bytes>,
        ) -> Poll<Option<Result<MessageBatch>>> {
            Poll::Ready(
                self.messages
                    .take()
                    .map(|messages| Ok(MessageBatch::Many(messages))),
            )
        }

        fn is_cancelled(&self) -> bool {
            self.read.lock().unwrap().0 >= self.most
        }

        fn read(self: Pin<&mut Self>, messages: usize, bytes: usize) {
            let mut read = self.read.lock().unwrap();
            *read = (read.0 + messages, read.1 + bytes);
        }
    }

    fn method() -> MethodDescriptor {
        const TEXTS: &MethodTexts<&str> = &MethodTexts::new("a.A/B", "", "");
        MethodDescriptor::new(TEXTS, 1, 2, Shape::BidiStreaming, Idempotency::Unknown)
    }

    /// A layout in which each byte of a message takes 40,000 bytes decoded.
    static HEAVY: Layout = Layout::new(40_000, &[]);

    #[tokio::test]
    async fn messages_that_take_much_memory_are_decoded_one_at_a_time() {
        let (items, read) = OneBatch::of(&["7"; 3]);
        let memory = StreamMemory::replies::<Prost, ()>(&method().with_reply(&HEAVY), 40_000);
        let mut numbers = Streaming::of_items(items).decoded(number, memory, |status| status);
        for taken in 1..=3 {
            assert_eq!(numbers.message().await.unwrap(), Some(7));
            assert_eq!(read.lock().unwrap().0, taken);
        }
        let (items, _) = OneBatch::of(&["7"; 3]);
        let memory = StreamMemory::replies::<Prost, ()>(&method().with_reply(&HEAVY), 39_999);
        let mut numbers = Streaming::of_items(items).decoded(number, memory, |status| status);
        let status = numbers.message().await.unwrap_err();
        assert_eq!(status.code(), wawo_protocol::Code::ResourceExhausted);
    }

    /// The size of the type counts too, so that a batch of large types has few messages.
    #[tokio::test]
    async fn a_batch_of_large_types_is_short() {
        let (items, read) = OneBatch::of(&["7"; 8]);
        let large = |_: &[u8], _: &Bytes, batch: &mut VecDeque<[u8; 40_000]>| {
            batch.push_back([7; 40_000]);
            Ok(())
        };
        let mut all = Streaming::of_items(items).decoded(large, memory(), |status| status);
        all.message().await.unwrap().unwrap();
        assert_eq!(read.lock().unwrap().0, 1);
    }

    fn memory() -> StreamMemory {
        StreamMemory::replies::<Prost, ()>(&method(), 1_000_000)
    }

    fn number(bytes: &[u8], _: &Bytes, numbers: &mut VecDeque<u32>) -> Result<()> {
        let text = str::from_utf8(bytes).unwrap();
        let number = text.parse();
        numbers.push_back(number.map_err(|_| Status::internal("no number"))?);
        Ok(())
    }

    #[tokio::test]
    async fn what_comes_before_a_message_that_cannot_be_decoded_is_read_first() {
        let (items, _) = OneBatch::of(&["1", "2", "three", "4"]);
        let mut numbers = Streaming::of_items(items).decoded(number, memory(), |status| status);
        assert_eq!(numbers.message().await.unwrap(), Some(1));
        assert_eq!(numbers.message().await.unwrap(), Some(2));
        assert_eq!(numbers.message().await.unwrap_err().message(), "no number");
        assert_eq!(numbers.message().await.unwrap(), None);
    }

    #[tokio::test]
    async fn messages_are_decoded_and_counted_a_batch_at_a_time() {
        let texts = ["7"; 3 * BATCH_MESSAGES];
        let (items, read) = OneBatch::of(&texts);
        let mut numbers = Streaming::of_items(items).decoded(number, memory(), |status| status);
        for taken in 1..=texts.len() {
            assert_eq!(numbers.message().await.unwrap(), Some(7));
            let batches = taken.div_ceil(BATCH_MESSAGES);
            assert_eq!(read.lock().unwrap().0, batches * BATCH_MESSAGES);
        }
        assert_eq!(numbers.message().await.unwrap(), None);
        assert_eq!(*read.lock().unwrap(), (texts.len(), texts.len()));
    }

    #[tokio::test]
    async fn nothing_more_is_decoded_once_it_is_cancelled() {
        let (mut items, _) = OneBatch::of(&["7"; 3 * BATCH_MESSAGES]);
        items.most = BATCH_MESSAGES;
        let numbers = Streaming::of_items(items).decoded(number, memory(), |status| status);
        assert_eq!(numbers.count().await, BATCH_MESSAGES);
    }

    #[tokio::test]
    async fn large_messages_are_not_decoded_before_they_are_asked_for() {
        let large = "0".repeat(BATCH_BYTES - 1);
        let (items, read) = OneBatch::of(&[&*large; 3]);
        let mut numbers = Streaming::of_items(items).decoded(number, memory(), |status| status);
        assert_eq!(numbers.message().await.unwrap(), Some(0));
        assert_eq!(read.lock().unwrap().0, 2);
    }
}
