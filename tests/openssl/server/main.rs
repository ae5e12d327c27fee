//! A server that speaks TLS only, for clients of other TLS libraries: scripts/interop runs openssl against it.
//!
//! It writes `root.pem`, and `client.pem` and `client-key.pem`, to the folder that it is given, prints its address
//! without the scheme, and serves until it is killed.

#![allow(clippy::print_stdout, reason = "scripts/interop reads the address")]

use std::{env, error::Error, fs, path::PathBuf};

use wawo::{
    Server,
    tls::{Pem, ServerTls},
};
use wawo_test_certificates::Authority;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::args().nth(1).ok_or("a folder is missing")?);
    let authority = Authority::new("root");
    let (server, client) = (
        authority.server(&["localhost"]),
        authority.client("spiffe://example.org/openssl"),
    );
    fs::write(folder.join("root.pem"), &authority.root)?;
    fs::write(folder.join("client.pem"), &client.certificate)?;
    fs::write(folder.join("client-key.pem"), &client.key)?;
    let tls = ServerTls::builder()
        .certificate(Pem::bytes(server.certificate), Pem::bytes(server.key))
        .client_roots(Pem::bytes(authority.root))
        .client_certificates_optional()
        .build()?;
    let server = Server::builder().tls(tls).bind("tls://localhost:0").await?;
    let address = server.addresses()[0].to_string();
    println!("{}", address.trim_start_matches("tls://"));
    Ok(server.run().await?)
}
