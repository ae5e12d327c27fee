//! The name that the certificate of a server has to have.

use std::io;

use tokio_rustls::rustls::pki_types::ServerName;

use crate::transport::{Address, HostPort};

/// The name at which the server's certificate is checked: the host of the address, or `localhost` for
/// transports within this machine.
///
/// # Errors
///
/// If the address has no host, or the host is no name that a certificate can have.
pub(super) fn of_address(address: &Address) -> io::Result<ServerName<'static>> {
    match address {
        Address::Tcp(host) => {
            let host = HostPort::parse(host).map_err(invalid)?;
            parse(host.host)
        }
        Address::Unix(_) | Address::Abstract(_) | Address::Pipe(_) | Address::Memory(_) => {
            parse("localhost")
        }
        Address::Tls(inner) => of_address(inner),
        Address::Other { .. } => Err(invalid(
            "its address has no host to check the certificate by: set `ClientTls::builder().server_name(..)`",
        )),
    }
}

/// # Errors
///
/// If the text is no name.
pub(super) fn parse(name: &str) -> io::Result<ServerName<'static>> {
    // The zone of an IPv6 address is for this machine only, and the dot at the end of a name for resolvers.
    let name = name.split_once('%').map_or(name, |(address, _)| address);
    let name = name.strip_suffix('.').unwrap_or(name);
    ServerName::try_from(name.to_owned()).map_err(|_| {
        let name = name.escape_debug();
        invalid(format!(
            "a certificate cannot have the name `{name}`: write a host as DNS has it, in ASCII, or an IP \
             address"
        ))
    })
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
