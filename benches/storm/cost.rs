//! Measures what a handshake costs a server: the CPU time of its only thread, for connections that come one
//! after the other, say hello, read the other hello, and are cut.

#[cfg(feature = "tls")]
mod tls;

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
    thread,
    time::Duration,
};

use cpu_time::ThreadTime;
use socket2::SockRef;
use tokio::runtime::{Builder, Runtime};
use wawo::{Server, ServerBuilder};

/// A preface, and a hello with the minimum of all limits.
const HELLO: &[u8] = b"WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0";

/// The bytes that the server has sent at least, when it has sent its preface and hello.
const MIN_REPLY_BYTES: usize = 20;

/// The table of the costs, measured with this number of handshakes.
pub(crate) fn table(handshakes: u32) -> String {
    let mut table = "| handshake | CPU time |\n|---|---|\n".to_owned();
    let mut row = |name: &str, cost: Duration| {
        let micros = cost.as_secs_f64() * 1e6;
        let _ = writeln!(table, "| {name} | {micros:.1} us |");
    };
    row("plain", plain(handshakes));
    #[cfg(feature = "tls")]
    for kind in tls::KINDS {
        row(kind.name(), kind.cost(handshakes / 4));
    }
    table
}

fn plain(handshakes: u32) -> Duration {
    measure(Server::builder(), "tcp", handshakes, |mut socket| {
        exchange_hellos(&mut socket);
        socket
    })
}

/// The CPU time of a server for each handshake. `shake_hands` plays the client.
fn measure(
    server: ServerBuilder,
    scheme: &'static str,
    handshakes: u32,
    shake_hands: impl Fn(TcpStream) -> TcpStream,
) -> Duration {
    let (ready, listens) = mpsc::channel();
    let server = thread::spawn(move || {
        runtime().block_on(async {
            let server = server.bind(&*format!("{scheme}://127.0.0.1:0")).await;
            let server = server.expect("a free port");
            let address = server.addresses().remove(0).to_string();
            let sent = ready.send((address, server.handle()));
            sent.expect("the bench waits");
            let begin = ThreadTime::now();
            server.run().await.expect("a drain");
            begin.elapsed()
        })
    });
    let (address, handle) = listens.recv().expect("the server listens");
    let (_, address) = address.split_once("://").expect("an address");
    for _ in 0..handshakes {
        let socket = TcpStream::connect(address).expect("the server listens");
        let socket = shake_hands(socket);
        // It is cut, so that its port is free at once.
        let linger = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        linger.expect("a TCP socket");
    }
    runtime().block_on(async { handle.drain(Duration::ZERO).await });
    server.join().expect("the server ends") / handshakes
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

fn exchange_hellos(socket: &mut (impl Read + Write)) {
    socket.write_all(HELLO).expect("the server reads");
    let mut reply = [0; 1024];
    let mut read = 0;
    while read < MIN_REPLY_BYTES {
        let more = socket.read(&mut reply).expect("the server replies");
        assert_ne!(more, 0, "the server replies");
        read += more;
    }
}
