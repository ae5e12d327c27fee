//! Sends a refused connection the reason.

use std::{io, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    time::timeout,
};
use wawo_protocol::{
    CloseCode,
    packet::{PREFACE, Packet},
};

use crate::{
    peer::ConnectionLimit,
    server::{admission::ConnectionLimits, registry::RefusalPermit},
    transport::{TLS_ALERT, Transport},
};

/// How long the reason for a refused connection may take to be sent. It holds a socket and a task meanwhile.
const REFUSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How many bytes a refused connection may send before it is cut: a hello and some calls.
const MAX_UNREAD_BYTES: u64 = 64 * 1024;

/// The text for a connection that this limit refuses.
pub(crate) fn text(limit: ConnectionLimit, limits: &ConnectionLimits) -> String {
    match limit {
        ConnectionLimit::MaxConnections => {
            let max = limits.connections;
            format!("the server has {max} connections and takes no more (max_connections)")
        }
        ConnectionLimit::MaxConnectionsPerHost => {
            let max = limits.per_host;
            format!("this host has {max} connections and may have no more ({limit})")
        }
        ConnectionLimit::MaxHandshakes => {
            let max = limits.handshakes;
            format!("more than {max} connections have not said hello ({limit})")
        }
    }
}

/// Sends the reason in a close packet, in place of a hello, and then reads until the other side closes.
/// If a socket is closed with unread bytes, the operating system discards the bytes that were written to
/// it.
pub(crate) async fn send_reason(
    transport: Box<dyn Transport>,
    reason: BytesMut,
    refused: RefusalPermit,
) {
    send_last(transport, &reason).await;
    drop(refused);
}

/// The preface and a close packet. For a client that begins TLS an alert of TLS comes before: a handshake of TLS
/// for each refusal would be work for a server that has too much already. A wawo client reads the reason when
/// its handshake has failed; others show the alert.
pub(crate) fn close_packet(is_tls: bool, code: CloseCode, text: &str) -> BytesMut {
    let mut packet = BytesMut::new();
    if is_tls {
        packet.extend_from_slice(&TLS_ALERT);
    }
    packet.extend_from_slice(&PREFACE);
    let text = text.to_owned();
    Packet::Close { code, text }.encode(&mut packet);
    packet
}

/// Sends the last bytes of this side, and then reads until the other side closes, for at most a second.
async fn send_last(mut transport: Box<dyn Transport>, bytes: &[u8]) {
    let sending = async {
        transport.write_all(bytes).await?;
        transport.flush().await?;
        transport.shutdown().await?;
        let mut unread = transport.take(MAX_UNREAD_BYTES);
        copy(&mut unread, &mut sink()).await?;
        io::Result::Ok(())
    };
    // A peer that does not read gets no reason.
    let _ = timeout(REFUSE_TIMEOUT, sending).await;
}

/// Sends the last bytes of this side to one that has sent nothing, so that there is nothing unread for which
/// they could be discarded. They fit into the buffer of a socket; another transport has a second to take them.
#[cfg(feature = "tls")]
pub(crate) async fn send_to_silent(mut transport: Box<dyn Transport>, bytes: &[u8]) {
    let sending = async {
        transport.write_all(bytes).await?;
        transport.shutdown().await
    };
    // A peer that does not read gets no reason.
    let _ = timeout(REFUSE_TIMEOUT, sending).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::{CloseCode, MAX_UNREAD_BYTES, REFUSE_TIMEOUT, close_packet, send_reason};
    use crate::server::{admission::ConnectionLimits, registry::Registry};

    fn registry() -> Arc<Registry> {
        Arc::new(Registry::new(ConnectionLimits {
            connections: 1,
            handshakes: 1,
            per_host: 1,
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_refused_reads_why_and_is_let_go_when_it_goes() {
        let (mut here, there) = duplex(1024);
        here.write_all(b"whatever it says").await.unwrap();
        let refused = registry().refuse().unwrap();
        let reason = close_packet(false, CloseCode::LimitExceeded, "too many");
        let sending = tokio::spawn(send_reason(Box::new(there), reason, refused));
        let mut heard = Vec::new();
        here.read_to_end(&mut heard).await.unwrap();
        let expected = b"WAWO/1\r\n\0\0\0\x08\x05\0\0\x02\0\0\0\0too many";
        assert_eq!(heard, expected);
        let begin = Instant::now();
        drop(here);
        sending.await.unwrap();
        assert_eq!(begin.elapsed().as_millis(), 0);
    }

    /// One client sends nothing, one does not read, one sends without an end.
    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_go_is_cut() {
        let send_reason = |there| {
            let refused = registry().refuse().unwrap();
            let reason = close_packet(false, CloseCode::LimitExceeded, "too many");
            tokio::spawn(send_reason(Box::new(there), reason, refused))
        };
        for room in [1024, 4] {
            let (_here, there) = duplex(room);
            let begin = Instant::now();
            send_reason(there).await.unwrap();
            assert_eq!(begin.elapsed(), REFUSE_TIMEOUT);
        }
        let (mut here, there) = duplex(1024);
        let begin = Instant::now();
        let sending = send_reason(there);
        let mut sent = 0;
        while here.write_all(&[7; 1024]).await.is_ok() {
            sent += 1024;
        }
        sending.await.unwrap();
        assert!(sent <= MAX_UNREAD_BYTES + 1024, "{sent}");
        assert!(begin.elapsed() < REFUSE_TIMEOUT);
    }

    #[cfg(feature = "tls")]
    #[tokio::test(start_paused = true)]
    async fn a_silent_one_has_a_second_to_take_the_reason() {
        let (_here, there) = duplex(4);
        let begin = Instant::now();
        super::send_to_silent(Box::new(there), b"too many").await;
        assert_eq!(begin.elapsed(), REFUSE_TIMEOUT);
    }
}
