//! Hosts, by which connections are limited, and addresses that are exempt from that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wawo_protocol::ConfigError;

use crate::transport::Address;

/// The addresses of one host. A household or a machine usually has a whole /64 of IPv6, so a limit for
/// single addresses would limit nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Host {
    V4(Ipv4Addr),
    /// The upper 64 bits.
    V6(u64),
}

impl Host {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// The host of a connection that is accepted, as far as it is known then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Newcomer {
    Of(Host),
    /// It is not counted by host.
    Uncounted,
    /// It comes through a proxy, whose header will tell the host.
    Proxied,
}

impl From<Option<Host>> for Newcomer {
    fn from(host: Option<Host>) -> Self {
        host.map_or(Self::Uncounted, Self::Of)
    }
}

/// The addresses whose connections are not counted by host.
#[derive(Debug, Clone)]
pub(crate) struct TrustedProxies(Vec<Prefix>);

impl Default for TrustedProxies {
    /// The addresses of this machine.
    fn default() -> Self {
        Self(vec![
            Prefix::new(Ipv4Addr::new(127, 0, 0, 0).into(), 8),
            Prefix::new(Ipv6Addr::LOCALHOST.into(), 128),
        ])
    }
}

impl TrustedProxies {
    /// # Errors
    ///
    /// If a text is neither an address nor a prefix. The error names the setting by `key`, and the first
    /// such text.
    pub(crate) fn parse(key: &str, texts: &[String]) -> Result<Self, ConfigError> {
        let wrong = |text: &String| ConfigError::Unreadable {
            setting: key.to_owned(),
            value: text.clone(),
            expected: "IP addresses or prefixes, such as 10.0.0.1, 10.0.0.0/8 or fd00::/8"
                .to_owned(),
        };
        let prefixes = texts.iter();
        let prefixes = prefixes.map(|text| Prefix::parse(text).ok_or_else(|| wrong(text)));
        Ok(Self(prefixes.collect::<Result<_, _>>()?))
    }

    /// The host that a connection is counted by. `None` if it is not counted: it did not come over TCP,
    /// or it came from a trusted proxy.
    pub(crate) fn host_of(&self, from: &Address) -> Option<Host> {
        let address = ip_of(from)?;
        (!self.contain(address)).then(|| Host::of(address))
    }

    /// Whether a connection came from a trusted proxy.
    pub(crate) fn are_at(&self, from: &Address) -> bool {
        ip_of(from).is_some_and(|address| self.contain(address))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|prefix| prefix.contains(address))
    }
}

/// The IP address of a TCP address; one of IPv4 if it can be written so.
fn ip_of(from: &Address) -> Option<IpAddr> {
    let Address::Tcp(text) = from else {
        return None;
    };
    Some(text.parse::<SocketAddr>().ok()?.ip().to_canonical())
}

/// The addresses that begin with the same bits.
#[derive(Debug, Clone, Copy)]
struct Prefix {
    address: IpAddr,
    bits: u32,
}

/// How many bits come before an IPv4 address that is written as an IPv6 address.
const MAPPED_BITS: u32 = 96;

impl Prefix {
    fn new(address: IpAddr, bits: u32) -> Self {
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), canonical @ IpAddr::V4(_)) if bits >= MAPPED_BITS => Self {
                address: canonical,
                bits: bits - MAPPED_BITS,
            },
            _ => Self { address, bits },
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).ok()?;
        (bits <= most).then(|| Self::new(address, bits))
    }

    fn contains(self, address: IpAddr) -> bool {
        // Shifting by the number of bits that need not match would overflow for a prefix of no bits.
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = (own.to_bits() ^ other.to_bits()).leading_zeros();
                differing >= self.bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = (own.to_bits() ^ other.to_bits()).leading_zeros();
                differing >= self.bits
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Host, TrustedProxies};
    use crate::transport::Address;

    fn host(trusted: &TrustedProxies, from: &str) -> Option<Host> {
        trusted.host_of(&Address::Tcp(from.to_owned()))
    }

    fn trusted(texts: &[&str]) -> TrustedProxies {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        TrustedProxies::parse("trusted_proxies", &texts).unwrap()
    }

    #[test]
    fn a_host_is_an_address_of_ipv4_or_a_64_of_ipv6() {
        let none = trusted(&[]);
        for (one, other, same) in [
            ("192.0.2.1:1", "192.0.2.1:2", true),
            ("192.0.2.1:1", "192.0.2.2:1", false),
            ("192.0.2.1:1", "[::ffff:192.0.2.1]:1", true),
            ("[2001:db8::1]:1", "[2001:db8:0:0:ffff::2]:2", true),
            ("[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false),
            ("[fe80::1%3]:1", "[fe80::2%3]:1", true),
            // Mapped IPv4 addresses are different hosts, though they share a /64.
            ("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:1", false),
        ] {
            let (left, right) = (host(&none, one), host(&none, other));
            assert!(left.is_some() && right.is_some(), "{one} {other}");
            assert_eq!(left == right, same, "{one} {other}");
        }
    }

    #[test]
    fn this_machine_and_what_is_no_tcp_is_not_counted() {
        let default = TrustedProxies::default();
        for from in [
            "127.0.0.1:1",
            "127.8.9.1:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(host(&default, from), None, "{from}");
        }
        assert!(host(&default, "128.0.0.1:1").is_some());
        assert!(host(&default, "[::2]:1").is_some());
        let none = trusted(&[]);
        assert_eq!(none.host_of(&Address::Unix("/run/a".into())), None);
        assert_eq!(none.host_of(&Address::Memory("a".into())), None);
        assert!(host(&none, "127.0.0.1:1").is_some());
    }

    #[test]
    fn trusted_proxies_are_addresses_or_prefixes() {
        let proxies = trusted(&[
            "10.0.0.0/8",
            "192.0.2.7",
            "fd00::/8",
            "::ffff:198.51.100.0/120",
        ]);
        for (from, is_counted) in [
            ("10.255.0.1:1", false),
            ("11.0.0.1:1", true),
            ("192.0.2.7:1", false),
            ("192.0.2.6:1", true),
            ("[fd12::1]:1", false),
            ("[fe00::1]:1", true),
            ("198.51.100.200:1", false),
            ("198.51.101.1:1", true),
            ("127.0.0.1:1", true),
        ] {
            assert_eq!(host(&proxies, from).is_some(), is_counted, "{from}");
        }
        let all = trusted(&["0.0.0.0/0", "::/0"]);
        assert_eq!(host(&all, "192.0.2.7:1"), None);
        assert_eq!(host(&all, "[2001:db8::1]:1"), None);
    }

    #[test]
    fn what_is_no_trusted_proxy_is_named() {
        for text in [
            "",
            "localhost",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "1/8",
        ] {
            let error = TrustedProxies::parse("key", &[text.to_owned()]).unwrap_err();
            let start = format!("key is `{text}`; write IP addresses or prefixes");
            assert!(error.to_string().starts_with(&start), "{error}");
        }
    }
}
