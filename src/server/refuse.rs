//! Telling a connection that is not taken why, on its way out.

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
    server::{admission::ConnectionLimits, registry::Refused},
    transport::Transport,
};

/// How long one that is refused may take to be told. A socket and a task are held meanwhile.
const TELL_TIMEOUT: Duration = Duration::from_secs(1);

/// One that is refused may say this much, which is a hello and some calls, before it is cut.
const MAX_UNREAD_BYTES: u64 = 64 * 1024;

/// What one that is refused hears.
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
        ConnectionLimit::MaxGreeting => {
            let max = limits.greeting;
            format!("more than {max} connections have not said hello ({limit})")
        }
    }
}

/// Says why in a close packet, which stands in place of a hello, and waits for the other side to
/// go: a socket that is closed with bytes unread takes back what was written to it.
pub(crate) async fn tell(mut transport: Box<dyn Transport>, text: String, refused: Refused) {
    let telling = async {
        let mut packet = BytesMut::from(&PREFACE[..]);
        let code = CloseCode::LimitExceeded;
        Packet::Close { code, text }.encode(&mut packet);
        transport.write_all(&packet).await?;
        transport.flush().await?;
        transport.shutdown().await?;
        let mut unread = transport.take(MAX_UNREAD_BYTES);
        copy(&mut unread, &mut sink()).await?;
        io::Result::Ok(())
    };
    // Whoever does not listen is not told.
    let _ = timeout(TELL_TIMEOUT, telling).await;
    drop(refused);
}
