//! The answer of a server that does not speak TLS.

use std::{io, time::Duration};

use bytes::BytesMut;
use tokio::{io::AsyncReadExt, time::timeout};
use wawo_protocol::{
    CloseCode, ConnectionError, Limits,
    packet::{Packet, decode, decode_preface},
};

use crate::transport::{Address, tls::socket::TlsSocket, tls_record::TLS_ALERT};

/// The error for an answer that is not TLS, if it is one. The rest of it is read.
pub(super) async fn reply(socket: &mut TlsSocket, at: Option<&Address>) -> Option<io::Error> {
    if !is_plain(socket.first_bytes()) {
        return None;
    }
    // The time is bounded, and the bytes by those that the handshake may have.
    let reading = async {
        let mut part = [0; 512];
        while !matches!(socket.read(&mut part).await, Ok(0) | Err(_)) {}
    };
    let _ = timeout(REPLY_TIMEOUT, reading).await;
    let first = socket.first_bytes();
    match close_packet(first) {
        // A wawo server that does not want this connection, whatever it speaks.
        Some((code @ (CloseCode::Normal | CloseCode::LimitExceeded), text)) => {
            let closed = ConnectionError::closed_by_peer(code, &text);
            Some(io::Error::new(io::ErrorKind::ConnectionRefused, closed))
        }
        None if first.starts_with(&TLS_ALERT) => None,
        _ => {
            let begin = first[..first.len().min(8)].escape_ascii();
            let advice = match at {
                Some(below) => format!("use {below}"),
                None => "connect without it".to_owned(),
            };
            let text = match first.starts_with(&TLS_ALERT) {
                true => format!("the server does not speak TLS: {advice}"),
                false => {
                    format!("the server does not speak TLS (it begins with \"{begin}\"): {advice}")
                }
            };
            Some(io::Error::new(io::ErrorKind::InvalidData, text))
        }
    }
}

/// How long the rest of an answer in plain may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the first bytes of a server are not TLS, or the alert of one that does not speak it.
fn is_plain(first: &[u8]) -> bool {
    match first.first() {
        // The types of records: change of cipher, alert, handshake, data.
        Some(0x14..=0x17) => first.starts_with(&TLS_ALERT),
        Some(_) => true,
        None => false,
    }
}

/// The close packet in an answer of a wawo server.
fn close_packet(first: &[u8]) -> Option<(CloseCode, String)> {
    let first = first.strip_prefix(&TLS_ALERT).unwrap_or(first);
    let mut bytes = BytesMut::from(first);
    match decode_preface(&mut bytes) {
        Ok(true) => {}
        Ok(false) | Err(_) => return None,
    }
    match decode(&mut bytes, &Limits::MINIMUM) {
        Ok(Some(Packet::Close { code, text })) => Some((code, text)),
        _ => None,
    }
}
