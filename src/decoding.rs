//! How much memory decoded messages may take: one message, all of a connection, all of a server.
//!
//! Memory is reserved before a message is decoded, and given back when the handler's future ends; for
//! a stream, when its next message is asked for. Nothing waits for room: calls that wait for each
//! other would wait for ever. Messages that surely take little are not counted, and cost a
//! multiplication; their number is bounded by other limits.

mod stream;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use wawo_protocol::Config;

pub(crate) use crate::decoding::stream::StreamMemory;
use crate::{
    codec::Codec,
    descriptor::{MethodDescriptor, Shape},
    layout::Layout,
    status::{Delivery, Result, Status},
};

/// A message of a call that takes no more is not counted: at most one for each call in flight.
pub(crate) const UNCOUNTED_BYTES: usize = 16 * 1024;

/// A one-way message that takes no more, and twice its length, is not counted. Credit bounds how many
/// of them are handled at once, and each costs it 64 bytes and its length.
const UNCOUNTED_ONE_WAY_BYTES: usize = 256;

/// The most that a message may take where no connection says otherwise, as by default.
pub(crate) const DEFAULT_MAX_BYTES: usize = 64 * 1024 * 1024;

/// The memory that decoded messages of the other side take, for one connection.
#[derive(Debug)]
pub(crate) struct DecodedBytes {
    max_message: usize,
    sum: DecodedTotal,
    server: Option<Arc<DecodedTotal>>,
}

/// Bytes that are reserved, out of a greatest number.
#[derive(Debug)]
pub(crate) struct DecodedTotal {
    held: AtomicUsize,
    max: usize,
}

/// The setting that bounds the total of a connection.
const CONNECTION: &str = "max_connection_decoded_bytes";

/// The setting that bounds the total of a server.
const SERVER: &str = "max_server_decoded_bytes";

impl DecodedTotal {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            held: AtomicUsize::new(0),
            max,
        }
    }

    /// # Errors
    ///
    /// If that is more than fits; names the setting.
    fn take(&self, bytes: usize, setting: &str) -> Result<()> {
        let more = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= self.max);
        let ordering = Ordering::Relaxed;
        let taken = self.held.fetch_update(ordering, ordering, more);
        taken
            .map(drop)
            .map_err(|held| self.full(held, bytes, setting))
    }

    /// Takes what is there already, also if that is more than fits.
    fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cold]
    fn full(&self, held: usize, bytes: usize, setting: &str) -> Status {
        let max = self.max;
        let text = format!(
            "a message of {bytes} bytes when decoded, beside {held} of requests that are worked on; \
             the callee takes at most {max} in all ({setting})"
        );
        Status::resource_exhausted(text)
    }
}

impl DecodedBytes {
    /// For a connection with this configuration, of a server if it has one.
    pub(crate) fn new(config: &Config, server: Option<Arc<DecodedTotal>>) -> Arc<Self> {
        Arc::new(Self {
            max_message: config.max_decoded_bytes(),
            sum: DecodedTotal::new(config.max_connection_decoded_bytes()),
            server,
        })
    }

    /// The most that a message may take.
    pub(crate) fn max_message(&self) -> usize {
        self.max_message
    }

    /// Bytes that are reserved now.
    pub(crate) fn held(&self) -> usize {
        self.sum.held.load(Ordering::Relaxed)
    }

    /// Whether a message can be taken when there is no other.
    fn can_take(&self, bytes: usize) -> bool {
        let server = self.server.as_ref();
        bytes <= self.sum.max && server.is_none_or(|server| bytes <= server.max)
    }

    fn reserve(self: &Arc<Self>, bytes: usize) -> Result<Reservation> {
        self.sum.take(bytes, CONNECTION)?;
        if let Some(server) = &self.server
            && let Err(status) = server.take(bytes, SERVER)
        {
            self.sum.give_back(bytes);
            return Err(status);
        }
        Ok(Reservation {
            of: self.clone(),
            bytes,
        })
    }
}

/// Memory that decoded messages may take. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Reservation {
    of: Arc<DecodedBytes>,
    bytes: usize,
}

impl Reservation {
    /// Holds `bytes` more, also above the limit of the sum: others find less room then.
    pub(crate) fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.of.sum.add(bytes);
        if let Some(server) = &self.of.server {
            server.add(bytes);
        }
    }

    /// The same future, which holds the memory until it is dropped.
    pub(crate) fn hold_for<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        ReservationFuture {
            future: Box::pin(future),
            _reserved: self,
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.of.sum.give_back(self.bytes);
        if let Some(server) = &self.of.server {
            server.give_back(self.bytes);
        }
    }
}

struct ReservationFuture<F> {
    // First, so that it is dropped first.
    future: Pin<Box<F>>,
    _reserved: Reservation,
}

impl<F: Future> Future for ReservationFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.future.as_mut().poll(cx)
    }
}

/// The limits of the requests of a call; `None` of a caller in the same process, to whom only that of
/// a message applies.
pub(crate) type Limits<'a> = Option<&'a Arc<DecodedBytes>>;

/// Whether a request of this length surely takes so little memory that it is not counted.
#[inline]
pub(crate) fn is_little(method: &MethodDescriptor, length: usize) -> bool {
    is_surely_little(method.request_layout(), length, uncounted(method))
}

fn uncounted(method: &MethodDescriptor) -> usize {
    match method.shape() {
        Shape::OneWay => UNCOUNTED_ONE_WAY_BYTES,
        _ => UNCOUNTED_BYTES,
    }
}

/// Reserves the memory that the request of a call takes when it is decoded; `None` if that is little
/// after all.
///
/// # Errors
///
/// If the message takes too much, or if it does with all others: then the call is refused unserved.
pub(crate) fn reserve<C: Codec<Q>, Q>(
    method: &MethodDescriptor,
    codec: C,
    bytes: &[u8],
    limits: Limits<'_>,
) -> Result<Option<Reservation>> {
    let layout = method.request_layout();
    if is_surely_little(layout, bytes.len(), uncounted(method)) {
        return Ok(None);
    }
    let taken = codec.decoded_bytes(bytes, layout);
    let uncounted = match method.shape() {
        Shape::OneWay => uncounted(method) + 2 * bytes.len(),
        _ => uncounted(method),
    };
    reserve_measured(method, taken, uncounted, limits)
}

/// Whether a message takes little, from its length and its type alone.
#[inline]
fn is_surely_little(layout: Option<&Layout>, length: usize, uncounted: usize) -> bool {
    match layout {
        Some(layout) => layout.takes_at_most(uncounted as u64, length),
        // Only a codec knows, but of nothing.
        None => length == 0,
    }
}

fn reserve_measured(
    method: &MethodDescriptor,
    bytes: usize,
    uncounted: usize,
    limits: Limits<'_>,
) -> Result<Option<Reservation>> {
    let max = limits.map_or(DEFAULT_MAX_BYTES, |limits| limits.max_message());
    check(method, "request", bytes, max)?;
    match bytes > uncounted {
        true => reserve_bytes(bytes, limits),
        false => Ok(None),
    }
}

/// Reserves `bytes` for a call.
///
/// # Errors
///
/// If that is too much with all others: then the call is refused unserved.
pub(crate) fn reserve_bytes(bytes: usize, limits: Limits<'_>) -> Result<Option<Reservation>> {
    let Some(limits) = limits else {
        return Ok(None);
    };
    let reserved = limits.reserve(bytes).map(Some);
    // No handler has seen the call, so it may be made again, unless that is of no use.
    reserved.map_err(|status| match limits.can_take(bytes) {
        true => status.with_delivery(Delivery::NotSent),
        false => status,
    })
}

fn check(method: &MethodDescriptor, what: &str, bytes: usize, max: usize) -> Result<()> {
    if bytes <= max {
        return Ok(());
    }
    let reader = if what == "request" {
        "callee"
    } else {
        "caller"
    };
    let text = format!(
        "the {what} of `{method}` takes {bytes} bytes when decoded; \
         the {reader} takes at most {max} (max_decoded_bytes)"
    );
    Err(Status::resource_exhausted(text))
}

/// Whether a reply of this length surely takes so little memory that it need not be checked.
#[inline]
pub(crate) fn is_little_reply(method: &MethodDescriptor, length: usize) -> bool {
    is_surely_little(method.reply_layout(), length, UNCOUNTED_BYTES)
}

/// Checks a reply before it is decoded: whoever called holds it then, and no connection counts it. One
/// that takes 16 KiB or less is always taken.
///
/// # Errors
///
/// If it takes too much.
pub(crate) fn check_reply<C: Codec<R>, R>(
    method: &MethodDescriptor,
    codec: C,
    bytes: &[u8],
    max: usize,
) -> Result<()> {
    if is_little_reply(method, bytes.len()) {
        return Ok(());
    }
    let taken = codec.decoded_bytes(bytes, method.reply_layout());
    check(method, "reply", taken, max)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wawo_protocol::{Code, Config};

    use super::{DecodedBytes, DecodedTotal, UNCOUNTED_BYTES, UNCOUNTED_ONE_WAY_BYTES, reserve};
    use crate::{
        codec::Prost,
        descriptor::{Idempotency, MethodDescriptor, MethodTexts, Shape},
        layout::{Field, Layout},
        status::{Delivery, Status},
    };

    fn limits(message: usize, connection: usize, server: usize) -> Arc<DecodedBytes> {
        let config = Config::builder()
            .max_decoded_bytes(message)
            .max_connection_decoded_bytes(connection)
            .build()
            .unwrap();
        DecodedBytes::new(&config, Some(Arc::new(DecodedTotal::new(server))))
    }

    /// A message that takes a byte more than it is long: flags, packed.
    static FLAGS: Layout = Layout::new(0, &[Field::varints(1, 1)]);

    fn method(shape: Shape) -> MethodDescriptor {
        const TEXTS: &MethodTexts<&str> = &MethodTexts::new("a.A/B", "", "");
        MethodDescriptor::new(TEXTS, 1, 2, shape, Idempotency::Unknown).with_request(&FLAGS)
    }

    /// Reserves for as many flags.
    fn take(limits: &Arc<DecodedBytes>, shape: Shape, flags: usize) -> Result<usize, Status> {
        let mut bytes = Vec::new();
        prost::encoding::bool::encode_packed(1, &vec![true; flags], &mut bytes);
        let reserved = reserve::<Prost, ()>(&method(shape), Prost, &bytes, Some(limits))?;
        let held = limits.held();
        std::mem::forget(reserved);
        Ok(held)
    }

    /// What is not counted is always taken, so no limit may be below it.
    #[test]
    fn every_limit_is_at_least_what_is_not_counted() {
        let check = |bytes| {
            let config = Config::builder().max_decoded_bytes(bytes).build();
            config.map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(check(UNCOUNTED_BYTES), Ok(()));
        let text = "max_decoded_bytes is 16383; it must be at least 16384";
        assert_eq!(check(UNCOUNTED_BYTES - 1), Err(text.to_owned()));
    }

    #[test]
    fn what_takes_little_is_not_counted() {
        let limits = limits(1 << 20, 1 << 20, 1 << 20);
        // A vector of 8,192 takes half as much again while it grows.
        assert_eq!(take(&limits, Shape::Unary, 8_192).unwrap(), 0);
        let more = take(&limits, Shape::Unary, 16_384).unwrap();
        assert!(more > UNCOUNTED_BYTES, "{more}");
        let least = UNCOUNTED_ONE_WAY_BYTES / 2;
        assert_eq!(take(&limits, Shape::OneWay, least).unwrap(), more);
    }

    #[test]
    fn each_limit_is_told_of_and_only_sums_refuse_what_may_be_made_again() {
        const MESSAGE: usize = 65_536 + 32_768 + 16;
        let refused = |status: Status| {
            assert_eq!(status.code(), Code::ResourceExhausted);
            (
                status.delivery(),
                status.message().rsplit_once('(').unwrap().1.to_owned(),
            )
        };
        let of = |message, connection, server| limits(message, connection, server);
        let ok = of(MESSAGE, 2 * MESSAGE, 4 * MESSAGE);
        assert_eq!(take(&ok, Shape::Unary, 65_536).unwrap(), MESSAGE);
        assert_eq!(take(&ok, Shape::Unary, 65_536).unwrap(), 2 * MESSAGE);
        let expected = (
            Delivery::NotSent,
            "max_connection_decoded_bytes)".to_owned(),
        );
        assert_eq!(
            refused(take(&ok, Shape::Unary, 65_536).unwrap_err()),
            expected
        );
        assert_eq!(ok.held(), 2 * MESSAGE);
        let server = of(MESSAGE, 2 * MESSAGE, 2 * MESSAGE - 1);
        take(&server, Shape::Unary, 65_536).unwrap();
        let expected = (Delivery::NotSent, "max_server_decoded_bytes)".to_owned());
        assert_eq!(
            refused(take(&server, Shape::Unary, 65_536).unwrap_err()),
            expected
        );
        assert_eq!(
            server.held(),
            MESSAGE,
            "what was taken of the connection goes back"
        );
        let never = of(MESSAGE, MESSAGE, MESSAGE - 1);
        let expected = (Delivery::Responded, "max_server_decoded_bytes)".to_owned());
        assert_eq!(
            refused(take(&never, Shape::Unary, 65_536).unwrap_err()),
            expected
        );
        let small = of(MESSAGE - 1, MESSAGE, MESSAGE);
        let expected = (Delivery::Responded, "max_decoded_bytes)".to_owned());
        assert_eq!(
            refused(take(&small, Shape::Unary, 65_536).unwrap_err()),
            expected
        );
    }
}
