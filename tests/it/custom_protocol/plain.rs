//! A small protocol, and an end of a connection that speaks it without wawo.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use wawo::{
    Code, CustomPacket, CustomProtocol, MethodId, PacketCodec, PacketKind, Peer, Server, ServiceId,
};

use crate::support::{EchoServer, Parrot, Seen, message};

pub(crate) const ECHO: ServiceId = ServiceId(7);

/// Length (4 bytes, of the rest), kind (1), call (4), service (4), method (4), payload. The payload
/// of a failure is a code (2) and a text.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    /// Messages of this length or more cannot be written; 0 means no limit.
    pub(crate) unwritable: usize,
}

const HEAD_BYTES: usize = 13;

impl PacketCodec for Plain {
    type Error = String;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<CustomPacket>, String> {
        let Some(length) = input.first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length < HEAD_BYTES {
            return Err(format!("a packet of {length} bytes"));
        }
        if input.len() < 4 + length {
            return Ok(None);
        }
        let mut packet = input.split_to(4 + length).freeze();
        packet.advance(4);
        let (kind, call) = (packet.get_u8(), packet.get_u32());
        let (service, method) = (ServiceId(packet.get_u32()), MethodId(packet.get_u32()));
        Ok(Some(match kind {
            1 => CustomPacket::request(service, method, call, packet),
            2 => CustomPacket::one_way(service, method, packet),
            3 => CustomPacket::reply(call, packet),
            4 => {
                let code = packet
                    .try_get_u16()
                    .map_err(|_| "a failure without a code")?;
                let text = String::from_utf8_lossy(&packet).into_owned();
                CustomPacket::failure(call, Code::from_wire(code), text)
            }
            5 => CustomPacket::cancel(call),
            kind => return Err(format!("kind {kind}")),
        }))
    }

    fn encode(&mut self, packet: CustomPacket, output: &mut BytesMut) -> Result<(), String> {
        let (kind, payload) = match packet.kind {
            PacketKind::Request => (1, packet.payload),
            PacketKind::OneWay => (2, packet.payload),
            PacketKind::Reply => (3, packet.payload),
            PacketKind::Failure { code, text } => {
                let code = code.to_wire().to_be_bytes();
                (4, [&code, text.as_bytes()].concat().into())
            }
            PacketKind::Cancel => (5, packet.payload),
            other => return Err(format!("{other:?}")),
        };
        output.put_u32((HEAD_BYTES + payload.len()) as u32);
        output.put_u8(kind);
        output.put_u32(packet.call);
        output.put_u32(packet.service.0);
        output.put_u32(packet.method.0);
        if self.unwritable > 0 && payload.len() >= self.unwritable {
            return Err(format!("{} bytes do not fit", payload.len()));
        }
        output.put_slice(&payload);
        Ok(())
    }
}

/// The other end of a connection to a parrot: plain bytes, without wawo.
pub(crate) struct Raw {
    pub(crate) socket: DuplexStream,
    pub(crate) input: BytesMut,
    /// This end, as the server sees it.
    pub(crate) peer: Peer,
    pub(crate) seen: Arc<Seen>,
    pub(crate) server: Server,
}

pub(crate) fn raw() -> Raw {
    raw_with(|framed| framed)
}

pub(crate) fn raw_with(
    set: impl FnOnce(CustomProtocol<DuplexStream, Plain>) -> CustomProtocol<DuplexStream, Plain>,
) -> Raw {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let parrot = Parrot::default();
    let seen = parrot.0.clone();
    let server = Server::builder().add_service(EchoServer::new(parrot));
    let mut server = server.build().unwrap();
    let framed = set(CustomProtocol::accepting(there, Plain::default()));
    let peer = server.accept_over(framed).unwrap();
    Raw {
        socket: here,
        input: BytesMut::new(),
        peer,
        seen,
        server,
    }
}

impl Raw {
    pub(crate) async fn send(&mut self, packet: CustomPacket) {
        let mut bytes = BytesMut::new();
        Plain::default().encode(packet, &mut bytes).unwrap();
        self.socket.write_all(&bytes).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> CustomPacket {
        loop {
            if let Some(packet) = Plain::default().decode(&mut self.input).unwrap() {
                return packet;
            }
            let read = self.socket.read_buf(&mut self.input).await.unwrap();
            assert!(read > 0, "the connection ended");
        }
    }

    /// The code and text of the next packet, which must be a failure.
    pub(crate) async fn next_failure(&mut self) -> (Code, String) {
        match self.next().await.kind {
            PacketKind::Failure { code, text } => (code, text),
            other => panic!("{other:?}"),
        }
    }
}

/// All packets in these bytes.
pub(crate) fn packets(bytes: &[u8]) -> Vec<CustomPacket> {
    let mut input = BytesMut::from(bytes);
    let mut next = || Plain::default().decode(&mut input).unwrap();
    let packets = std::iter::from_fn(&mut next).collect();
    assert!(input.is_empty());
    packets
}

/// Encodes a message with this data.
pub(crate) fn say(data: impl Into<Bytes>) -> Bytes {
    prost::Message::encode_to_vec(&message(data)).into()
}
