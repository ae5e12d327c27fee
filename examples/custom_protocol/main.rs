//! A generated service over an existing protocol: old tills ask for prices, and the server calls
//! them back. The till in this example knows only the bytes, not wawo.
//!
//! ```text
//! length (4)   message id (4)             service id (4)   payload
//! of payload   highest bit set: answer
//! ```
//!
//! `cargo run --example custom_protocol`

use bytes::{Buf, BufMut, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wawo::{
    Context, CustomPacket, CustomProtocol, MethodId, PacketCodec, PacketKind, Result, Server,
    ServiceId,
};

use crate::till::{DisplayClient, Line, Price, Prices, PricesServer, Thing};

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod till {
    wawo::include_proto!("till");
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The protocol of the tills. A service has one method, and a failure is an empty reply.
struct Legacy;

const HEAD_BYTES: usize = 12;
const ANSWER: u32 = 1 << 31;
const METHOD: MethodId = MethodId(1);

impl PacketCodec for Legacy {
    type Error = &'static str;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<CustomPacket>, Self::Error> {
        let Some(length) = input.first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if input.len() < HEAD_BYTES.saturating_add(length) {
            return Ok(None);
        }
        let mut packet = input.split_to(HEAD_BYTES + length).freeze();
        packet.advance(4);
        let (id, service) = (packet.get_u32(), ServiceId(packet.get_u32()));
        Ok(Some(match id & ANSWER {
            0 => CustomPacket::request(service, METHOD, id, packet),
            _ => CustomPacket::reply(id & !ANSWER, packet),
        }))
    }

    fn encode(&mut self, packet: CustomPacket, output: &mut BytesMut) -> Result<(), Self::Error> {
        let id = match packet.kind {
            PacketKind::Request if packet.method == METHOD => packet.call,
            PacketKind::Reply | PacketKind::Failure { .. } => packet.call | ANSWER,
            // The protocol of the tills cannot cancel; a late reply of a till is ignored.
            PacketKind::Cancel => return Ok(()),
            _ => return Err("a till knows only calls of method 1"),
        };
        output.put_u32(packet.payload.len() as u32);
        output.put_u32(id);
        output.put_u32(packet.service.0);
        output.put_slice(&packet.payload);
        Ok(())
    }
}

struct PriceList;

impl Prices for PriceList {
    async fn ask(&self, cx: Context, thing: Thing) -> Result<Price> {
        // The server calls the till while the till waits for its own reply.
        let text = format!("One {}, a good choice!", thing.name);
        let display = DisplayClient::new(&cx.peer());
        let shown = display.show(Line { text }).await?;
        println!("server: the till shows {:?}", shown.text);
        let amount = "1.20".into();
        Ok(Price { amount })
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let prices = PricesServer::new(PriceList);
    let mut server = Server::builder().add_service(prices).build()?;
    let legacy =
        |transport| CustomProtocol::accepting(transport, Legacy).max_call_number(ANSWER - 1);
    server.bind_with("tcp://127.0.0.1:0", legacy).await?;
    let address = server.addresses()[0].to_string();
    tokio::spawn(server.run());
    till(address.trim_start_matches("tcp://")).await
}

/// A till: a socket that sends and receives bytes.
async fn till(address: &str) -> Result<(), Error> {
    let mut socket = TcpStream::connect(address).await?;
    // The payload is protobuf: field 1, a string of five bytes.
    write(&mut socket, 1, 20, b"\x0a\x05apple").await?;
    let (id, service, line) = read(&mut socket).await?;
    let text = String::from_utf8_lossy(&line[2..]);
    println!("till: call {id} of service {service} says {text:?}");
    write(&mut socket, id | ANSWER, service, &line).await?;
    let (id, service, price) = read(&mut socket).await?;
    let amount = String::from_utf8_lossy(&price[2..]);
    println!(
        "till: answer {} of service {service} says {amount:?}",
        id & !ANSWER
    );
    assert_eq!(amount, "1.20");
    Ok(())
}

async fn write(socket: &mut TcpStream, id: u32, service: u32, payload: &[u8]) -> Result<(), Error> {
    socket.write_u32(payload.len() as u32).await?;
    socket.write_u32(id).await?;
    socket.write_u32(service).await?;
    Ok(socket.write_all(payload).await?)
}

async fn read(socket: &mut TcpStream) -> Result<(u32, u32, Vec<u8>), Error> {
    let mut payload = vec![0; socket.read_u32().await? as usize];
    let (id, service) = (socket.read_u32().await?, socket.read_u32().await?);
    socket.read_exact(&mut payload).await?;
    Ok((id, service, payload))
}
