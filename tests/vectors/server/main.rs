//! Serves the service of the state vectors, for a tester in any language (tests/vectors/README.md).
//!
//! ```text
//! cargo run --example vectors_server -- tcp://127.0.0.1:0             it accepts; prints its address
//! cargo run --example vectors_server -- connect tcp://127.0.0.1:4000  it connects, again after each end
//! ```

mod application;

use std::{env, error::Error, fs, path::Path};

use wawo::{Config, ConnectError, Peer, Server};
use wawo_test_protos::tests::vectors::VectorsServer;

use self::application::Application;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words[..] {
        [address] => accept(address).await,
        ["connect", address] => connect(address).await,
        _ => Err("give an address, or `connect` and an address".into()),
    }
}

async fn accept(address: &str) -> Result<(), Box<dyn Error>> {
    let server = Server::builder()
        .config(config()?)
        .add_service(VectorsServer::new(Application));
    let server = server.bind(address).await?;
    println!("{}", server.addresses()[0]);
    server.run().await?;
    Ok(())
}

/// Connects to a tester for one vector after the other, until the tester takes no more connections.
async fn connect(address: &str) -> Result<(), Box<dyn Error>> {
    loop {
        let peer = Peer::builder(address)
            .config(config()?)
            .add_service(VectorsServer::new(Application));
        // A vector may end the connection in the handshake; only a tester that is gone ends this loop.
        match peer.connect().await {
            Ok(peer) => drop(peer.closed().await),
            Err(error @ ConnectError::Transport { .. }) => return Err(error.into()),
            Err(error) => eprintln!("{error}"),
        }
    }
}

/// The settings of `tests/vectors/settings.txt`.
fn config() -> Result<Config, Box<dyn Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/settings.txt");
    let mut config = Config::builder();
    for line in fs::read_to_string(file)?.lines() {
        let line = line.split('#').next().unwrap_or_default();
        if let Some((name, value)) = line.split_once(':') {
            config = config.set(name, value.trim())?;
        }
    }
    Ok(config.build()?)
}
