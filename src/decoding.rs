//! Limits how much memory decoded messages take: one message, all of a connection, all of a server.
//!
//! Memory is reserved before a message is decoded, and released when the handler's future ends; for a
//! stream, when its next message is read. A call never waits for memory: calls that wait for each other
//! would wait for ever. Messages that surely take little are not counted, and this check costs a
//! multiplication; their number is bounded by other limits.

mod reservation;
mod stream;

use std::sync::Arc;

pub(crate) use crate::decoding::{
    reservation::{DecodedBytes, DecodedTotal, Reservation},
    stream::StreamMemory,
};
use crate::{
    codec::Codec,
    descriptor::{MethodDescriptor, Shape},
    layout::Layout,
    status::{Delivery, Result, Status},
};

/// A decoded message of a call up to this many bytes is not counted. There is at most one for each call
/// in flight.
const UNCOUNTED_BYTES: usize = 16 * 1024;

/// A decoded one-way message up to this many bytes, plus twice its encoded length, is not counted. Credit
/// bounds how many are handled at a time: each costs its length and 64 bytes.
const UNCOUNTED_ONE_WAY_BYTES: usize = 256;

/// How many bytes a decoded message may take if no connection sets a limit. It is the default of
/// connections too.
pub(crate) const DEFAULT_MAX_BYTES: usize = 64 * 1024 * 1024;

/// The limits of the requests of a call. `None` for a caller in the same process: then only the limit of
/// a single message applies.
pub(crate) type DecodingLimits<'a> = Option<&'a Arc<DecodedBytes>>;

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

/// Reserves the memory that the request of a call takes when it is decoded. `None` if the measured size
/// is too small to be counted.
///
/// # Errors
///
/// If the message alone takes too much, or together with all others. Then the call is refused unserved.
pub(crate) fn reserve<C: Codec<Q>, Q>(
    method: &MethodDescriptor,
    codec: C,
    bytes: &[u8],
    limits: DecodingLimits<'_>,
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

/// Whether a message takes little, judged by its length and its type alone.
#[inline]
fn is_surely_little(layout: Option<&Layout>, length: usize, uncounted: usize) -> bool {
    match layout {
        Some(layout) => layout.takes_at_most(uncounted as u64, length),
        // Without a layout only the codec can tell, unless the message is empty.
        None => length == 0,
    }
}

fn reserve_measured(
    method: &MethodDescriptor,
    bytes: usize,
    uncounted: usize,
    limits: DecodingLimits<'_>,
) -> Result<Option<Reservation>> {
    let max = limits.map_or(DEFAULT_MAX_BYTES, |limits| limits.max_message());
    check(method, Direction::Request, bytes, max)?;
    match bytes > uncounted {
        true => reserve_bytes(bytes, limits),
        false => Ok(None),
    }
}

/// Reserves `bytes` for a call.
///
/// # Errors
///
/// If that is too much together with all others. Then the call is refused unserved.
pub(crate) fn reserve_bytes(
    bytes: usize,
    limits: DecodingLimits<'_>,
) -> Result<Option<Reservation>> {
    let Some(limits) = limits else {
        return Ok(None);
    };
    let reserved = limits.reserve(bytes).map(Some);
    // The call did not reach its handler, so it is safe to retry, unless it could never be served.
    reserved.map_err(|status| match limits.can_take(bytes) {
        true => status.with_delivery(Delivery::NotSent),
        false => status,
    })
}

/// The direction of a message.
#[derive(Debug, Clone, Copy)]
enum Direction {
    Request,
    Reply,
}

fn check(method: &MethodDescriptor, direction: Direction, bytes: usize, max: usize) -> Result<()> {
    if bytes <= max {
        return Ok(());
    }
    let (message, reader) = match direction {
        Direction::Request => ("request", "callee"),
        Direction::Reply => ("reply", "caller"),
    };
    let text = format!(
        "the {message} of `{method}` takes {bytes} bytes when decoded; \
         the {reader} takes at most {max} (max_decoded_bytes)"
    );
    Err(Status::resource_exhausted(text).with_limit("max_decoded_bytes"))
}

/// Whether a reply of this length surely takes so little memory that it need not be checked.
#[inline]
pub(crate) fn is_little_reply(method: &MethodDescriptor, length: usize) -> bool {
    is_surely_little(method.reply_layout(), length, UNCOUNTED_BYTES)
}

/// Checks a reply before it is decoded. The caller holds the decoded reply, so no connection counts it. A
/// reply that takes 16 KiB or less always passes.
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
    check(method, Direction::Reply, taken, max)
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

    /// A message whose decoded size is its encoded length plus a few bytes: packed flags.
    static FLAGS: Layout = Layout::new(0, &[Field::varints(1, 1)]);

    fn method(shape: Shape) -> MethodDescriptor {
        const TEXTS: &MethodTexts<&str> = &MethodTexts::new("a.A/B", "", "");
        MethodDescriptor::new(TEXTS, 1, 2, shape, Idempotency::Unknown).with_request(&FLAGS)
    }

    /// Reserves memory for a message with this number of flags.
    fn take(limits: &Arc<DecodedBytes>, shape: Shape, flags: usize) -> Result<usize, Status> {
        let mut bytes = Vec::new();
        prost::encoding::bool::encode_packed(1, &vec![true; flags], &mut bytes);
        let reserved = reserve::<Prost, ()>(&method(shape), Prost, &bytes, Some(limits))?;
        let held = limits.held();
        std::mem::forget(reserved);
        Ok(held)
    }

    /// A message that is not counted is always accepted, so no limit may be below that size.
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
        // The vector of 8,192 flags takes 1.5 times its length while it grows.
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
