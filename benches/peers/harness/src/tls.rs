//! The certificate of a server that speaks TLS. It is made anew for each server, so the repository has
//! no key.

use std::{env, fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result};
use wawo_test_certificates::{Authority, Issued};

/// A certificate for `addr` and its key, both in PEM, from a new authority. A client at `addr` gets
/// the root from [`trusted_root`].
///
/// # Errors
///
/// The root cannot be written to its file.
pub fn certificate(addr: SocketAddr) -> Result<Issued> {
    let authority = Authority::new("peers");
    let path = path(addr);
    fs::write(&path, &authority.root).with_context(|| path.display().to_string())?;
    Ok(authority.server(&[&addr.ip().to_string()]))
}

/// The root of the certificate of the server at `addr`, in PEM.
///
/// # Errors
///
/// There is no such server.
pub fn trusted_root(addr: SocketAddr) -> Result<String> {
    let path = path(addr);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Removes the root of the server at `addr`.
pub fn forget_root(addr: SocketAddr) {
    // A server that failed to start has left nothing behind.
    let _ = fs::remove_file(path(addr));
}

/// A path that both processes can compute. The port, which no other process uses now, makes it
/// unique.
fn path(addr: SocketAddr) -> PathBuf {
    env::temp_dir().join(format!("wawo-peer-{}.pem", addr.port()))
}

#[cfg(test)]
mod tests {
    use super::{certificate, forget_root, trusted_root};

    #[test]
    fn the_root_of_a_server_is_known_until_it_is_forgotten() {
        let addr = "127.0.0.1:1".parse().unwrap();
        let issued = certificate(addr).unwrap();
        assert!(issued.key.contains("PRIVATE KEY"));
        assert!(trusted_root(addr).unwrap().contains("BEGIN CERTIFICATE"));
        forget_root(addr);
        assert!(trusted_root(addr).is_err());
    }
}
