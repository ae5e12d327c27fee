//! Version 1 of the header: a line of text.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str,
};

use super::{
    error::{ProxyHeaderError, excerpt, missing},
    header::{HeaderProgress, MIN_HEADER_BYTES, ProxyHeader},
};

/// The beginning of the line.
pub(super) const BEGIN: &[u8] = b"PROXY ";

/// The longest line with its end, in bytes (section 2.1).
const MAX_LINE_BYTES: usize = 107;

/// The spaces in a line that has all fields: those before and behind the protocol, and between two
/// addresses and two ports.
const SPACES: usize = 5;

const LINE_END: &[u8] = b"\r\n";

/// The protocol of the client's connection to the proxy.
#[derive(Debug, Clone, Copy)]
enum ClientProtocol {
    Tcp4,
    Tcp6,
    Unknown,
}

/// The words for protocols, with what follows them.
const PROTOCOLS: [(&[u8], ClientProtocol); 4] = [
    (b"TCP4 ", ClientProtocol::Tcp4),
    (b"TCP6 ", ClientProtocol::Tcp6),
    (b"UNKNOWN ", ClientProtocol::Unknown),
    (b"UNKNOWN\r\n", ClientProtocol::Unknown),
];

pub(super) fn read(start: &[u8]) -> Result<HeaderProgress, ProxyHeaderError> {
    let Some(rest) = start.strip_prefix(BEGIN) else {
        return match BEGIN.starts_with(start) {
            true => Ok(HeaderProgress::Needs(MIN_HEADER_BYTES - start.len())),
            false => Err(missing(start)),
        };
    };
    let Some(protocol) = protocol(rest)? else {
        return Ok(HeaderProgress::Needs(more_bytes(start, 0)?));
    };
    match start
        .windows(LINE_END.len())
        .position(|two| two == LINE_END)
    {
        Some(end) if end + LINE_END.len() <= MAX_LINE_BYTES => {
            Ok(HeaderProgress::Whole(ProxyHeader {
                client: client(protocol, &start[BEGIN.len()..end])?,
                length: end + LINE_END.len(),
            }))
        }
        Some(_) => Err(ProxyHeaderError::NoLineEnd),
        None => {
            let fields = match protocol {
                ClientProtocol::Tcp4 | ClientProtocol::Tcp6 => SPACES,
                ClientProtocol::Unknown => 0,
            };
            Ok(HeaderProgress::Needs(more_bytes(start, fields)?))
        }
    }
}

/// The protocol that the line names; `None` if its word is not whole.
fn protocol(rest: &[u8]) -> Result<Option<ClientProtocol>, ProxyHeaderError> {
    let mut protocols = PROTOCOLS.iter();
    if let Some((_, protocol)) = protocols.find(|(word, _)| rest.starts_with(word)) {
        return Ok(Some(*protocol));
    }
    if PROTOCOLS.iter().any(|(word, _)| word.starts_with(rest)) {
        return Ok(None);
    }
    let end = rest.iter().position(u8::is_ascii_whitespace);
    let protocol = excerpt(&rest[..end.unwrap_or(rest.len())], 16);
    Err(ProxyHeaderError::Protocol { protocol })
}

/// How many bytes a line without an end still has, at least. Each of its `spaces` that has not come is
/// followed by a field of at least one byte.
///
/// # Errors
///
/// If the line gets too long with them.
fn more_bytes(start: &[u8], spaces: usize) -> Result<usize, ProxyHeaderError> {
    let came = start.iter().filter(|byte| **byte == b' ').count();
    let end = match start.last() {
        Some(b'\r') => 1,
        _ => LINE_END.len(),
    };
    let missing = spaces.saturating_sub(came);
    // The field behind a space that has just come has not begun.
    let begins = usize::from(spaces > 0 && start.last() == Some(&b' '));
    let more = match missing {
        0 => begins + end,
        _ => begins + 2 * missing + LINE_END.len(),
    };
    let more = more.max(MIN_HEADER_BYTES.saturating_sub(start.len()));
    match start.len() + more <= MAX_LINE_BYTES {
        true => Ok(more),
        false => Err(ProxyHeaderError::NoLineEnd),
    }
}

/// The address of the client. `line` begins with the protocol, and has no line end.
fn client(protocol: ClientProtocol, line: &[u8]) -> Result<Option<SocketAddr>, ProxyHeaderError> {
    let address: fn(&str) -> Option<IpAddr> = match protocol {
        ClientProtocol::Tcp4 => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        ClientProtocol::Tcp6 => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        // The rest of the line has no meaning.
        ClientProtocol::Unknown => return Ok(None),
    };
    let mut fields = line.split(|byte| *byte == b' ').skip(1);
    let mut next = || fields.next().unwrap_or_default();
    let source = field("source address", next(), address)?;
    field("destination address", next(), address)?;
    let source_port = field("source port", next(), port)?;
    field("destination port", next(), port)?;
    match fields.next() {
        None => Ok(Some(SocketAddr::new(source.to_canonical(), source_port))),
        Some(_) => Err(ProxyHeaderError::MoreFields),
    }
}

fn field<T>(
    field: &'static str,
    text: &[u8],
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, ProxyHeaderError> {
    str::from_utf8(text).ok().and_then(parse).ok_or_else(|| {
        let value = excerpt(text, 48);
        ProxyHeaderError::Field { field, value }
    })
}

/// A number from 0 to 65535 without a sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || text.starts_with(|first| matches!(first, '1'..='9'));
    // `parse` would take a sign, which `is_plain` excludes.
    text.parse().ok().filter(|_| is_plain)
}
