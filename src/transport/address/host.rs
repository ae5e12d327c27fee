//! Host and port of a TCP address.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest name that DNS allows, in bytes.
const MAX_NAME_BYTES: usize = 253;

/// The longest part between two dots of a name that DNS allows, in bytes.
const MAX_LABEL_BYTES: usize = 63;

/// A host, without brackets, and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostPort<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
}

impl<'a> HostPort<'a> {
    /// The host and port in the text, or the reason why it has none.
    pub(crate) fn parse(text: &'a str) -> Result<Self, &'static str> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => split_brackets(rest)?,
            None => split_name(text)?,
        };
        let port = parse_port(port)?;
        Ok(Self { host, port })
    }

    /// Whether the host is `localhost`. That is this machine over IPv4 and IPv6, whatever a resolver
    /// returns (RFC 6761, section 6.3).
    pub(crate) fn is_localhost(&self) -> bool {
        let name = self.host.strip_suffix('.').unwrap_or(self.host);
        name.eq_ignore_ascii_case("localhost")
    }
}

const NO_PORT: &str = "it has no port";

fn split_brackets(rest: &str) -> Result<(&str, &str), &'static str> {
    let (host, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
    let port = rest.strip_prefix(':').ok_or(NO_PORT)?;
    let (address, zone) = host.split_once('%').unwrap_or((host, "any"));
    let is_zone = !zone.is_empty() && zone.chars().all(is_name_char);
    if address.parse::<Ipv6Addr>().is_err() || !is_zone {
        return Err("its host in brackets is not an IPv6 address");
    }
    Ok((host, port))
}

fn split_name(text: &str) -> Result<(&str, &str), &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or(NO_PORT)?;
    if host.contains(':') {
        return Err("an IPv6 host must be in brackets, as in tcp://[::1]:80");
    }
    check_name(host)?;
    Ok((host, port))
}

fn check_name(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("it has no host");
    }
    if !host.chars().all(|c| c == '.' || is_name_char(c)) {
        return Err("its host contains a character that no host has");
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| (1..=MAX_LABEL_BYTES).contains(&label.len());
    if name.len() > MAX_NAME_BYTES || !name.split('.').all(is_label) {
        return Err("its host is neither a name nor an IPv4 address");
    }
    if ends_in_number(name) && host.parse::<Ipv4Addr>().is_err() {
        return Err("its host is not an IPv4 address in four decimal numbers");
    }
    Ok(())
}

/// Whether a resolver may take a name for an IPv4 address. Some accept `127.1`, `0x7f.1`, and octal
/// numbers such as `010`, each in its own way.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_hex = last.starts_with("0x") || last.starts_with("0X");
    is_hex || last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Letters beyond ASCII are left to the resolver, because some know such names.
fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '-' || c == '_'
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    if text.starts_with('0') && text.len() > 1 {
        return Err("its port begins with a zero");
    }
    // `u16::from_str` accepts a sign too.
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|_| is_digits);
    port.ok_or("its port is not a number from 0 to 65535")
}

#[cfg(test)]
mod tests {
    use super::HostPort;

    #[test]
    fn a_host_is_taken_out_of_its_brackets() {
        for (text, host, port) in [
            ("[::1]:80", "::1", 80),
            ("[fe80::1%eth0]:0", "fe80::1%eth0", 0),
            ("localhost:65535", "localhost", 65535),
            ("127.0.0.1:1", "127.0.0.1", 1),
        ] {
            assert_eq!(HostPort::parse(text), Ok(HostPort { host, port }));
        }
    }

    #[test]
    fn localhost_is_known_in_all_its_spellings() {
        for (text, is_localhost) in [
            ("localhost:1", true),
            ("LocalHost.:1", true),
            ("localhost.example:1", false),
            ("127.0.0.1:1", false),
        ] {
            assert_eq!(HostPort::parse(text).unwrap().is_localhost(), is_localhost);
        }
    }

    #[test]
    fn a_text_that_is_no_host_and_port_is_refused() {
        let long = format!("{}:80", "a".repeat(64));
        let longer = format!("{}a:80", "a.".repeat(127));
        for (text, reason) in [
            ("localhost", "no port"),
            ("[::1]", "no port"),
            ("[::1]80", "no port"),
            (":80", "no host"),
            ("[]:80", "not an IPv6 address"),
            ("[127.0.0.1]:80", "not an IPv6 address"),
            ("[::1%]:80", "not an IPv6 address"),
            ("[::1% ]:80", "not an IPv6 address"),
            ("[::1:80", "bracket is not closed"),
            ("::1:80", "brackets"),
            ("fe80::1:80", "brackets"),
            ("a b:80", "character"),
            ("a\0b:80", "character"),
            ("user@a:80", "character"),
            ("a/b:80", "character"),
            ("a..b:80", "neither a name nor"),
            (".a:80", "neither a name nor"),
            (".:80", "neither a name nor"),
            (&long, "neither a name nor"),
            (&longer, "neither a name nor"),
            ("127.1:80", "four decimal numbers"),
            ("127.0.0.01:80", "four decimal numbers"),
            ("127.0.0.1.:80", "four decimal numbers"),
            ("256.0.0.1:80", "four decimal numbers"),
            ("0x7f000001:80", "four decimal numbers"),
            ("2130706433:80", "four decimal numbers"),
            ("a:", "port is not a number"),
            ("a:http", "port is not a number"),
            ("a:+80", "port is not a number"),
            ("a:-1", "port is not a number"),
            ("a: 80", "port is not a number"),
            ("a:80 ", "port is not a number"),
            ("a:80/path", "port is not a number"),
            ("a:65536", "port is not a number"),
            ("a:1_000", "port is not a number"),
            ("a:\u{0661}", "port is not a number"),
            ("a:080", "begins with a zero"),
            ("a:00", "begins with a zero"),
        ] {
            let error = HostPort::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
