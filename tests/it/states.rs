//! The state vectors of the repository, over whole connections: a server that accepts a socket, and a peer
//! that connects. The clock is paused, so that a timeout passes when nothing else can happen.

#[path = "../vectors/server/application.rs"]
mod application;
#[path = "../../crates/wawo-protocol/tests/it/states/tester.rs"]
mod tester;
#[path = "../../crates/wawo-protocol/tests/it/states/vector.rs"]
mod vector;

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::timeout,
};
use wawo::{Peer, Server};
use wawo_protocol::Side;
use wawo_test_protos::tests::vectors::VectorsServer;

use self::{
    application::Application,
    tester::{Action, Tester},
    vector::Vector,
};

/// Longer than any vector waits.
const HANGS: Duration = Duration::from_secs(60);

async fn run(mut io: DuplexStream, side: Side, vector: Vector) -> Result<(), String> {
    let mut tester = Tester::new(side.other(), vector);
    let mut bytes = vec![0; 16 * 1024];
    loop {
        // The side under test may have ended the connection before it reads the last bytes.
        match tester.next()? {
            Action::Send(bytes) => drop(io.write_all(&bytes).await),
            Action::Finish => drop(io.shutdown().await),
            Action::Read => match timeout(HANGS, io.read(&mut bytes)).await {
                Ok(Ok(0) | Err(_)) => tester.receive_end(),
                Ok(Ok(count)) => tester.receive(&bytes[..count])?,
                Err(_) => return Err("nothing more comes".to_owned()),
            },
            Action::Done => return Ok(()),
        }
    }
}

fn check(failed: &str) {
    assert!(failed.is_empty(), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn a_server_has_the_outcome_of_each_vector() {
    let server = Server::builder()
        .config(vector::config())
        .add_service(VectorsServer::new(Application))
        .build()
        .unwrap();
    let mut failed = String::new();
    for vector in vector::vectors() {
        let (here, there) = duplex(64 * 1024);
        server.handle().accept_from(there, "mem://tester").unwrap();
        let name = vector.name.clone();
        if let Err(error) = run(here, Side::Accepting, vector).await {
            failed += &format!("{name}: {error}\n");
        }
    }
    check(&failed);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_connects_has_the_outcome_of_each_vector() {
    let mut failed = String::new();
    for vector in vector::vectors() {
        let (here, there) = duplex(64 * 1024);
        let peer = Peer::builder("")
            .config(vector::config())
            .add_service(VectorsServer::new(Application))
            .connect_over(there);
        let name = vector.name.clone();
        let tested = async {
            // A vector may end the connection before there is a peer.
            if let Ok(peer) = peer.await {
                peer.closed().await;
            }
        };
        let (result, ()) = tokio::join!(run(here, Side::Connecting, vector), tested);
        if let Err(error) = result {
            failed += &format!("{name}: {error}\n");
        }
    }
    check(&failed);
}
