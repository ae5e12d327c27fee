//! Feeds any bytes into the reader of headers, at once and in parts. It never panics, its result does not
//! depend on the parts, and it never asks for bytes that are not the header's. The fuzz target runs this.

use std::net::SocketAddr;

use crate::transport::proxy_header::{HeaderProgress, ProxyHeader, ProxyHeaderError, read};

/// The longest header.
const MAX_BYTES: usize = 4096;

pub(crate) fn run(data: &[u8]) {
    let at_once = read(data);
    let (exactly, taken) = read_exactly(data);
    match (&at_once, &exactly) {
        // Bytes behind the header were never asked for.
        (Ok(HeaderProgress::Whole(header)), _) => {
            assert_eq!(taken, header.length);
            assert!(header.length <= MAX_BYTES);
            assert_eq!(exactly, at_once);
        }
        (Ok(HeaderProgress::Needs(more)), _) => {
            assert!(*more > 0 && data.len() + more <= MAX_BYTES);
            assert_eq!(exactly, at_once);
        }
        // More bytes may show another fault first, but never a header.
        (Err(_), exactly) => assert!(exactly.is_err(), "{exactly:?}"),
    }
    by_bytes(data, &exactly);
}

type Outcome = Result<HeaderProgress, ProxyHeaderError>;

/// Takes as many bytes as the reader asks for, as long as there are any. Returns its last result, and the
/// number of bytes.
fn read_exactly(data: &[u8]) -> (Outcome, usize) {
    let mut taken = 0;
    loop {
        match read(&data[..taken]) {
            Ok(HeaderProgress::Needs(more)) if taken < data.len() => {
                taken = (taken + more).min(data.len());
            }
            outcome => return (outcome, taken),
        }
    }
}

/// Single bytes lead to the same header. A fault shows at the same byte or earlier.
fn by_bytes(data: &[u8], exactly: &Outcome) {
    let outcomes = (0..=data.len()).map(|length| read(&data[..length]));
    let is_over = |outcome: &Outcome| !matches!(outcome, Ok(HeaderProgress::Needs(_)));
    let first = outcomes.into_iter().find(is_over);
    match (first, exactly) {
        (None, exactly) => assert!(!is_over(exactly), "{exactly:?}"),
        (Some(Ok(outcome)), exactly) => assert_eq!(Ok(outcome), *exactly),
        (Some(Err(_)), exactly) => assert!(exactly.is_err(), "{exactly:?}"),
    }
}

/// The header of a client with this address, in either version; of a connection of the proxy itself for
/// `None`.
pub(crate) fn write(client: Option<SocketAddr>, version: u8) -> Vec<u8> {
    match (client, version) {
        (None, 1) => b"PROXY UNKNOWN\r\n".to_vec(),
        (None, _) => b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(),
        (Some(from), 1) => {
            let family = if from.is_ipv4() { 4 } else { 6 };
            let (address, port) = (from.ip(), from.port());
            format!("PROXY TCP{family} {address} {address} {port} 443\r\n").into_bytes()
        }
        (Some(from), _) => {
            let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
            match from {
                SocketAddr::V4(from) => {
                    header.extend([0x11, 0, 12]);
                    header.extend([from.ip().octets(), [10, 0, 0, 1]].concat());
                }
                SocketAddr::V6(from) => {
                    header.extend([0x21, 0, 36]);
                    header.extend([from.ip().octets(), [9; 16]].concat());
                }
            }
            header.extend(from.port().to_be_bytes());
            header.extend(443_u16.to_be_bytes());
            header
        }
    }
}

/// Reads a header that is whole.
pub(crate) fn header(bytes: &[u8]) -> ProxyHeader {
    match read(bytes) {
        Ok(HeaderProgress::Whole(header)) => header,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}
