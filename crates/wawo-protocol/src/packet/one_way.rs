//! Many one-way calls, kept as the packets that carry them, one behind the other. So each of them
//! takes only a few bytes beside its message, and all are sent at once.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    id::{MethodId, ServiceId},
    message::{MESSAGE_COST_BYTES, first_within},
    packet::{
        HEADER_BYTES,
        encode::put_header,
        header::{END, Kind, ONE_WAY, TIMEOUT, first_payload},
    },
};

/// One-way calls that have a message and no metadata, each in its own packet. They have the default
/// timeout.
#[derive(Debug, Default)]
pub struct OneWayBatch {
    packets: BytesMut,
    calls: usize,
    /// A length that no message exceeds.
    largest: usize,
}

/// The bytes of the ids of service and method in a call packet.
const TARGET_BYTES: usize = 8;

const TIMEOUT_BYTES: usize = 4;

/// Takes off the first packet. Returns the bytes of service and method, and those of the message.
fn split_first<'a>(packets: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let payload = first_payload(packets)?;
    *packets = &packets[HEADER_BYTES + payload.len()..];
    payload.split_at_checked(TARGET_BYTES)
}

impl OneWayBatch {
    /// An empty batch with room for this many bytes of packets.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            packets: BytesMut::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Adds a call.
    pub fn push(&mut self, service: ServiceId, method: MethodId, message: &[u8]) {
        let (length, flags) = (TARGET_BYTES + message.len(), END | ONE_WAY);
        self.packets.reserve(HEADER_BYTES + length);
        put_header(&mut self.packets, length, Kind::Call, flags, 0, None);
        self.packets.put_u32(service.0);
        self.packets.put_u32(method.0);
        self.packets.put_slice(message);
        self.calls += 1;
        self.largest = self.largest.max(message.len());
    }

    /// The number of calls.
    pub fn len(&self) -> usize {
        self.calls
    }

    /// Whether there are no calls.
    pub fn is_empty(&self) -> bool {
        self.calls == 0
    }

    /// The length of all packets.
    pub fn packet_bytes(&self) -> usize {
        self.packets.len()
    }

    /// The length of all messages together.
    pub(crate) fn message_bytes(&self) -> usize {
        self.packets.len() - self.calls * (HEADER_BYTES + TARGET_BYTES)
    }

    /// The cost of all messages together in shared credit.
    pub(crate) fn cost(&self) -> u64 {
        self.message_bytes() as u64 + self.calls as u64 * MESSAGE_COST_BYTES
    }

    pub(crate) fn largest(&self) -> usize {
        self.largest
    }

    /// Returns the packets. Each has the timeout, if that is not the default (`None`).
    pub(crate) fn into_packets(self, timeout_ms: Option<u32>) -> Bytes {
        let Some(timeout) = timeout_ms else {
            return self.packets.freeze();
        };
        let flags = END | ONE_WAY | TIMEOUT;
        let mut packets = BytesMut::with_capacity(self.packets.len() + self.calls * TIMEOUT_BYTES);
        let mut rest = &self.packets[..];
        while let Some((target, message)) = split_first(&mut rest) {
            let length = TARGET_BYTES + TIMEOUT_BYTES + message.len();
            put_header(&mut packets, length, Kind::Call, flags, 0, None);
            packets.put_slice(target);
            packets.put_u32(timeout);
            packets.put_slice(message);
        }
        packets.freeze()
    }

    /// Takes off the first calls, as many as may each begin with the `shared_credit` that those
    /// before it leave.
    pub(crate) fn take_within(&mut self, shared_credit: i64) -> Self {
        if self.cost() as i64 <= shared_credit {
            return std::mem::take(self);
        }
        let head = HEADER_BYTES + TARGET_BYTES;
        let (calls, end) = first_within(u64::MAX, shared_credit, head, |at| {
            first_payload(&self.packets[at..])?
                .len()
                .checked_sub(TARGET_BYTES)
        });
        self.calls -= calls;
        Self {
            packets: self.packets.split_to(end),
            calls,
            largest: self.largest,
        }
    }

    /// The calls in the order in which they were added.
    pub(crate) fn into_calls(self) -> impl Iterator<Item = (ServiceId, MethodId, Bytes)> {
        let packets = self.packets.freeze();
        let mut at = 0;
        std::iter::from_fn(move || {
            let mut rest = &packets[at..];
            let (mut target, message) = split_first(&mut rest)?;
            at = packets.len() - rest.len();
            let (service, method) = (ServiceId(target.get_u32()), MethodId(target.get_u32()));
            Some((service, method, packets.slice_ref(message)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::Limits,
        metadata::Metadata,
        packet::{Call, Chunk, Packet, decode},
    };

    const MESSAGES: [&str; 3] = ["one", "", "three"];

    fn batch() -> OneWayBatch {
        let mut batch = OneWayBatch::default();
        for message in MESSAGES {
            batch.push(ServiceId(1), MethodId(2), message.as_bytes());
        }
        batch
    }

    fn messages(batch: OneWayBatch) -> Vec<Bytes> {
        batch.into_calls().map(|(_, _, message)| message).collect()
    }

    #[test]
    fn the_first_calls_are_as_many_as_may_begin() {
        for (shared_credit, first) in [
            (-1, 0),
            (0, 0),
            (1, 1),
            (67, 1),
            (68, 2),
            (131, 2),
            (132, 3),
            (200, 3),
        ] {
            let mut rest = batch();
            let (cost, bytes) = (rest.cost(), rest.message_bytes());
            let few = rest.take_within(shared_credit);
            assert_eq!((few.len(), rest.len()), (first, 3 - first));
            assert_eq!(few.cost() + rest.cost(), cost);
            assert_eq!(few.message_bytes() + rest.message_bytes(), bytes);
            let all = [messages(few), messages(rest)].concat();
            assert_eq!(all, MESSAGES);
        }
    }

    #[test]
    fn each_packet_says_how_much_time_it_has() {
        for timeout in [None, Some(7)] {
            let mut packets = BytesMut::from(&batch().into_packets(timeout)[..]);
            for message in MESSAGES {
                let packet = decode(&mut packets, &Limits::default());
                let Ok(Some(Packet::Call(call))) = packet else {
                    panic!("{packet:?}");
                };
                let chunk = Chunk {
                    bytes: Bytes::from(message),
                    total: None,
                    more: false,
                    end: true,
                };
                let sent = Call {
                    call: None,
                    service: ServiceId(1),
                    method: MethodId(2),
                    timeout_ms: timeout,
                    one_way: true,
                    metadata: Metadata::new(),
                    chunk: Some(chunk),
                };
                assert_eq!(call, sent);
            }
            assert!(packets.is_empty());
        }
    }
}
