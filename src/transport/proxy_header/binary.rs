//! Version 2 of the header: 16 fixed bytes, addresses, and values that this side skips.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    error::{ProxyHeaderError, missing},
    header::{HeaderProgress, MAX_HEADER_BYTES, ProxyHeader},
};

/// The beginning of the header.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The bytes before the addresses: the signature, version and command, family and protocol, and the length
/// of the rest (section 2.2).
const FIXED_BYTES: usize = 16;

const VERSION: u8 = 2;

/// The party that the connection belongs to: a client, or the proxy itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    /// The proxy's own, such as a health check.
    Local,
    /// That of a client.
    Proxy,
}

/// The form of the addresses.
#[derive(Debug, Clone, Copy)]
enum Family {
    Tcp4,
    Tcp6,
    /// Other addresses, which this side does not use, take this many bytes.
    Other(usize),
}

impl Family {
    /// The bytes of both addresses with their ports.
    fn bytes(self) -> usize {
        match self {
            Self::Tcp4 => 2 * (4 + 2),
            Self::Tcp6 => 2 * (16 + 2),
            Self::Other(bytes) => bytes,
        }
    }
}

pub(super) fn read(start: &[u8]) -> Result<HeaderProgress, ProxyHeaderError> {
    let signature = &start[..start.len().min(SIGNATURE.len())];
    if !SIGNATURE.starts_with(signature) {
        return Err(missing(start));
    }
    let command = start.get(12).copied().map(command).transpose()?;
    let family = start.get(13).copied();
    // The family of a connection of the proxy itself has no meaning.
    let family = family.filter(|_| command == Some(Command::Proxy));
    let family = family.map(family_of).transpose()?;
    let Some(fixed) = start.first_chunk::<FIXED_BYTES>() else {
        return Ok(HeaderProgress::Needs(FIXED_BYTES - start.len()));
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let bytes = FIXED_BYTES + length;
    if bytes > MAX_HEADER_BYTES {
        return Err(ProxyHeaderError::Long { bytes });
    }
    let addresses = family.map_or(0, Family::bytes);
    if length < addresses {
        return Err(ProxyHeaderError::Short { length, addresses });
    }
    match start.get(FIXED_BYTES..bytes) {
        None => Ok(HeaderProgress::Needs(bytes - start.len())),
        Some(rest) => Ok(HeaderProgress::Whole(ProxyHeader {
            client: family.and_then(|family| source(family, rest)),
            length: bytes,
        })),
    }
}

fn command(byte: u8) -> Result<Command, ProxyHeaderError> {
    match (byte >> 4, byte & 0x0f) {
        (VERSION, 0) => Ok(Command::Local),
        (VERSION, 1) => Ok(Command::Proxy),
        (VERSION, command) => Err(ProxyHeaderError::Command { command }),
        (version, _) => Err(ProxyHeaderError::Version { version }),
    }
}

/// Addresses that this side does not use are those of an unspecified family, of Unix sockets, which say
/// little about a client, and of datagrams. The specification has connections with these go on with the
/// address of the proxy.
fn family_of(byte: u8) -> Result<Family, ProxyHeaderError> {
    match (byte >> 4, byte & 0x0f) {
        (1, 1) => Ok(Family::Tcp4),
        (2, 1) => Ok(Family::Tcp6),
        (1, 2) => Ok(Family::Other(Family::Tcp4.bytes())),
        (2, 2) => Ok(Family::Other(Family::Tcp6.bytes())),
        (3, 1 | 2) => Ok(Family::Other(2 * 108)),
        (0, 0..=2) | (1..=3, 0) => Ok(Family::Other(0)),
        _ => Err(ProxyHeaderError::Family { byte }),
    }
}

/// The address of the client, which comes first. Its port comes behind both addresses.
fn source(family: Family, addresses: &[u8]) -> Option<SocketAddr> {
    let address: IpAddr = match family {
        Family::Tcp4 => Ipv4Addr::from(*addresses.first_chunk::<4>()?).into(),
        Family::Tcp6 => Ipv6Addr::from(*addresses.first_chunk::<16>()?).into(),
        Family::Other(_) => return None,
    };
    let ports = &addresses[family.bytes() - 2 * 2..];
    let port = u16::from_be_bytes(*ports.first_chunk::<2>()?);
    Some(SocketAddr::new(address.to_canonical(), port))
}
