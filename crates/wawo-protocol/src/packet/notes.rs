//! One-way calls, one after the other as the packets that carry them: whoever sends many says each
//! in a few bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    call::cost,
    id::{MethodId, ServiceId},
    packet::{
        HEAD_BYTES,
        encode::put_head,
        head::{END, Kind, ONE_WAY},
    },
};

/// One-way calls with nothing but a message, each in a packet of its own. They have the default
/// timeout.
#[derive(Debug, Default)]
pub struct Notes {
    packets: BytesMut,
    notes: usize,
    cost: u64,
    /// No message is longer.
    largest: usize,
}

/// Service and method.
const TARGET_BYTES: usize = 8;

impl Notes {
    /// None yet, with room for so many bytes of packets.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            packets: BytesMut::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Adds a call.
    pub fn push(&mut self, service: ServiceId, method: MethodId, message: &[u8]) {
        let (length, flags) = (TARGET_BYTES + message.len(), END | ONE_WAY);
        self.packets.reserve(HEAD_BYTES + length);
        put_head(&mut self.packets, length, Kind::Call, flags, 0, None);
        self.packets.put_u32(service.0);
        self.packets.put_u32(method.0);
        self.packets.put_slice(message);
        self.notes += 1;
        self.cost += cost(message.len());
        self.largest = self.largest.max(message.len());
    }

    /// How many calls there are.
    pub fn len(&self) -> usize {
        self.notes
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.notes == 0
    }

    /// The length of all packets.
    pub fn packet_bytes(&self) -> usize {
        self.packets.len()
    }

    /// What they cost of the credit of all calls.
    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }

    pub(crate) fn largest(&self) -> usize {
        self.largest
    }

    pub(crate) fn into_packets(self) -> Bytes {
        self.packets.freeze()
    }

    /// Each call, as it was added.
    pub(crate) fn into_calls(self) -> impl Iterator<Item = (ServiceId, MethodId, Bytes)> {
        let mut packets = self.packets.freeze();
        std::iter::from_fn(move || {
            let head = packets.first_chunk::<4>()?;
            let length = u32::from_be_bytes(*head) as usize;
            packets.advance(HEAD_BYTES);
            let mut call = packets.split_to(length);
            let (service, method) = (ServiceId(call.get_u32()), MethodId(call.get_u32()));
            Some((service, method, call))
        })
    }
}
