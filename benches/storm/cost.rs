//! Measures what a handshake costs a server: the CPU time of its only thread, for connections that come one
//! after the other, say hello, read the other hello, and are cut.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
    thread,
    time::Duration,
};

use cpu_time::ThreadTime;
use socket2::SockRef;
use tokio::runtime::Builder;
use wawo::{Server, ServerConfig};

/// A preface, and a hello with the minimum of all limits.
const HELLO: &[u8] = b"WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0";

/// The bytes that the server has sent at least, when it has sent its preface and hello.
const MIN_REPLY_BYTES: usize = 20;

/// The table of the costs, measured with this number of handshakes.
pub(crate) fn table(handshakes: u32) -> String {
    let cost = plain(handshakes);
    format!(
        "| handshake | CPU time |\n|---|---|\n| plain | {:.1} us |\n",
        micros(cost)
    )
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn plain(handshakes: u32) -> Duration {
    let (ready, listens) = mpsc::channel();
    let server = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let config = ServerConfig::default();
            let mut server = Server::builder().config(config).build().expect("a server");
            server.bind("tcp://127.0.0.1:0").await.expect("a free port");
            let address = server.addresses().remove(0).to_string();
            ready
                .send((address, server.handle()))
                .expect("the test waits");
            let begin = ThreadTime::now();
            server.run().await.expect("a drain");
            begin.elapsed()
        })
    });
    let (address, handle) = listens.recv().expect("the server listens");
    let address = address.trim_start_matches("tcp://");
    (0..handshakes).for_each(|_| shake_hands(address));
    let runtime = Builder::new_current_thread().enable_all().build();
    let drained = async { handle.drain(Duration::ZERO).await };
    runtime.expect("a runtime").block_on(drained);
    server.join().expect("the server ends") / handshakes
}

fn shake_hands(address: &str) {
    let mut socket = TcpStream::connect(address).expect("the server listens");
    socket.write_all(HELLO).expect("the server reads");
    let mut reply = [0; 1024];
    let mut read = 0;
    while read < MIN_REPLY_BYTES {
        read += socket.read(&mut reply).expect("the server replies");
    }
    // It is cut, so that its port is free at once.
    let linger = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    linger.expect("a TCP socket");
}
