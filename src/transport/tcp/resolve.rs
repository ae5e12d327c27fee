//! Resolves the addresses of a host.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::transport::address::HostPort;

/// How many addresses of one name are used, at most. A resolver may return any number, and each may cost
/// a socket.
const MAX_ADDRESSES: usize = 32;

/// The addresses of a host, at least one, in the order of the resolver, without duplicates.
pub(super) async fn addresses(host: HostPort<'_>) -> io::Result<Vec<SocketAddr>> {
    let port = host.port;
    if let Ok(ip) = host.host.parse::<IpAddr>() {
        return Ok(vec![canonical(SocketAddr::new(ip, port))]);
    }
    if host.is_localhost() {
        return Ok(loopback(port).to_vec());
    }
    let found = tokio::net::lookup_host((host.host, port)).await;
    let found = found.map_err(|error| not_found(host.host, &error))?;
    let addresses = each_once(found);
    match addresses.is_empty() {
        true => Err(not_found(host.host, &"it has no address")),
        false => Ok(addresses),
    }
}

/// Turns an IPv4 address that is written as an IPv6 address (`::ffff:192.0.2.1`) into an IPv4 address.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

/// The addresses of `localhost`. IPv6 comes first, as resolvers order them (RFC 6724, section 2.1).
fn loopback(port: u16) -> [SocketAddr; 2] {
    let ipv6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let ipv4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    [ipv6, ipv4]
}

fn each_once(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = BTreeSet::new();
    let new = found.map(canonical).filter(|address| seen.insert(*address));
    new.take(MAX_ADDRESSES).collect()
}

fn not_found(host: &str, reason: &dyn std::fmt::Display) -> io::Error {
    let text = format!("cannot look up the host `{host}`: {reason}");
    io::Error::new(io::ErrorKind::NotFound, text)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::{MAX_ADDRESSES, addresses, each_once};
    use crate::transport::address::HostPort;

    #[tokio::test]
    async fn localhost_is_both_loopback_addresses_whatever_the_resolver_says() {
        let host = HostPort::parse("LOCALHOST:80").unwrap();
        let expected = ["[::1]:80", "127.0.0.1:80"].map(|text| text.parse().unwrap());
        assert_eq!(addresses(host).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn an_ip_address_is_itself() {
        for (text, expected) in [
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1:80"),
        ] {
            let host = HostPort::parse(text).unwrap();
            let expected: SocketAddr = expected.parse().unwrap();
            assert_eq!(addresses(host).await.unwrap(), [expected]);
        }
    }

    #[test]
    fn at_most_32_addresses_of_a_name_are_used_each_once() {
        let address = |n| SocketAddr::from((Ipv4Addr::from(n), 80));
        let most: Vec<_> = (0..MAX_ADDRESSES as u32).map(address).collect();
        let twice = most.iter().chain(&most).copied();
        assert_eq!(each_once(twice), most);
        let one_more = (0..=MAX_ADDRESSES as u32).map(address);
        assert_eq!(each_once(one_more), most);
    }
}
