use std::net::SocketAddr;

use super::{
    HeaderProgress, ProxyHeader, ProxyHeaderError,
    any_bytes::{header, run, write},
    header::MAX_HEADER_BYTES,
    read,
};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn error(bytes: &[u8]) -> ProxyHeaderError {
    match read(bytes) {
        Err(error) => error,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

/// Bytes of version 2, with the two bytes of command and family.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend(rest);
    header
}

#[test]
fn both_versions_name_the_client_and_end_where_the_next_protocol_begins() {
    for from in [
        "192.0.2.7:56324",
        "[2001:db8::1]:1",
        "0.0.0.0:0",
        "[::]:65535",
    ] {
        for version in [1, 2] {
            let mut bytes = write(Some(address(from)), version);
            let length = bytes.len();
            bytes.extend(b"WAWO/1\r\n and more\r\n");
            let client = Some(address(from));
            assert_eq!(
                header(&bytes),
                ProxyHeader { client, length },
                "{from} {version}"
            );
            run(&bytes);
        }
    }
}

#[test]
fn a_mapped_address_is_one_of_ipv4() {
    let client = Some(address("192.0.2.7:9"));
    let line = b"PROXY TCP6 ::ffff:c000:207 ::1 9 1\r\n";
    assert_eq!(header(line).client, client);
    let mapped = write(Some(address("[::ffff:192.0.2.7]:9")), 2);
    assert_eq!(header(&mapped).client, client);
}

#[test]
fn connections_of_the_proxy_itself_and_of_other_families_have_no_client() {
    let worst = format!(
        "PROXY UNKNOWN {0} {0} 65535 65535\r\n",
        "ffff:".repeat(8).trim_end_matches(':')
    );
    assert_eq!(worst.len(), 107);
    for line in [
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN \0 any\rthing\n at all\r\n",
        &worst,
    ] {
        assert_eq!(header(line.as_bytes()).client, None, "{line}");
    }
    for (command, family, length) in [
        // A health check, whose family and addresses have no meaning.
        (0x20, 0x00, 0),
        (0x20, 0xff, 0),
        (0x20, 0x11, 3),
        // Unspecified, datagrams, Unix sockets.
        (0x21, 0x00, 0),
        (0x21, 0x00, 50),
        (0x21, 0x01, 0),
        (0x21, 0x10, 0),
        (0x21, 0x12, 12),
        (0x21, 0x22, 36),
        (0x21, 0x31, 216),
        (0x21, 0x32, 216),
    ] {
        let bytes = binary(command, family, &vec![7; length]);
        let length = bytes.len();
        let expected = ProxyHeader {
            client: None,
            length,
        };
        assert_eq!(header(&bytes), expected, "{command:x} {family:x}");
    }
}

#[test]
fn values_behind_the_addresses_are_skipped_up_to_4_kib() {
    let addresses = [192, 0, 2, 7, 10, 0, 0, 1, 0, 9, 1, 187];
    for values in [1, 3, 100, MAX_HEADER_BYTES - 16 - 12] {
        let rest = [&addresses[..], &vec![0xee; values]].concat();
        let bytes = binary(0x21, 0x11, &rest);
        let client = Some(address("192.0.2.7:9"));
        let length = bytes.len();
        assert_eq!(header(&bytes), ProxyHeader { client, length });
        let needs = read(&bytes[..length - values]);
        assert_eq!(needs, Ok(HeaderProgress::Needs(values)));
    }
    let long = binary(0x21, 0x11, &[0; MAX_HEADER_BYTES - 15]);
    let bytes = MAX_HEADER_BYTES + 1;
    // The length alone is enough.
    assert_eq!(error(&long[..16]), ProxyHeaderError::Long { bytes });
    assert_eq!(
        error(&long).to_string(),
        "the header has 4097 bytes; at most 4096 are read"
    );
}

/// Lines that are no header, and their errors.
const WRONG_LINES: &[(&str, &str)] = &[
    (
        "WAWO/1\r\n",
        "the connection begins with `WAWO/1\\r\\n`, which is no PROXY header",
    ),
    (
        "PROXy",
        "the connection begins with `PROXy`, which is no PROXY header",
    ),
    (
        "PROXY  ",
        "the header names the protocol ``; it must be TCP4, TCP6 or UNKNOWN",
    ),
    (
        "PROXY TCP5",
        "the header names the protocol `TCP5`; it must be TCP4, TCP6 or UNKNOWN",
    ),
    (
        "PROXY UNKNOWN\n",
        "the header names the protocol `UNKNOWN`; it must be TCP4, TCP6 or UNKNOWN",
    ),
    (
        "PROXY TCP4\t1",
        "the header names the protocol `TCP4`; it must be TCP4, TCP6 or UNKNOWN",
    ),
    ("PROXY TCP4 \r\n", "the source address of the header is ``"),
    (
        "PROXY TCP4 ::1 ::1 1 1\r\n",
        "the source address of the header is `::1`",
    ),
    (
        "PROXY TCP4 1.2.3.04 1.1.1.1 1 1\r\n",
        "the source address of the header is `1.2.3.04`",
    ),
    (
        "PROXY TCP4 1.2.3 1.1.1.1 1 1\r\n",
        "the source address of the header is `1.2.3`",
    ),
    (
        "PROXY TCP6 1.2.3.4 ::1 1 1\r\n",
        "the source address of the header is `1.2.3.4`",
    ),
    (
        "PROXY TCP6 fe80::1%1 ::1 1 1\r\n",
        "the source address of the header is `fe80::1%1`",
    ),
    (
        "PROXY TCP6 ::1 ::g 1 1\r\n",
        "the destination address of the header is `::g`",
    ),
    (
        "PROXY TCP4 1.1.1.1  1.1.1.1 1 1\r\n",
        "the destination address of the header is ``",
    ),
    (
        "PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
        "the source port of the header is `01`",
    ),
    (
        "PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
        "the source port of the header is `+1`",
    ),
    (
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
        "the destination port of the header is `65536`",
    ),
    (
        "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
        "the destination port of the header is ``",
    ),
    (
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 2\n\r\n",
        "the destination port of the header is `2\\n`",
    ),
    (
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 2\r\r\n",
        "the destination port of the header is `2\\r`",
    ),
    (
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 2 \r\n",
        "the header has more than two addresses and two ports",
    ),
    (
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 2 3\r\n",
        "the header has more than two addresses and two ports",
    ),
];

#[test]
fn each_fault_of_a_line_is_named() {
    for (line, text) in WRONG_LINES {
        assert_eq!(error(line.as_bytes()).to_string(), *text, "{line}");
        run(line.as_bytes());
    }
}

#[test]
fn a_line_has_at_most_107_bytes() {
    let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    assert_eq!(header(line(107).as_bytes()).length, 107);
    let long = line(108);
    assert_eq!(error(long.as_bytes()), ProxyHeaderError::NoLineEnd);
    // It is too long before its end has come.
    assert_eq!(error(&long.as_bytes()[..106]), ProxyHeaderError::NoLineEnd);
    assert_eq!(read(&long.as_bytes()[..105]), Ok(HeaderProgress::Needs(2)));
    run(long.as_bytes());
}

#[test]
fn a_line_that_gets_too_long_is_found_at_the_same_byte_in_any_parts() {
    // Its last field has to begin at byte 106, so that no line end fits.
    let line = format!("PROXY TCP4 1 {} 1 ", "2".repeat(89));
    assert_eq!(line.len(), 105);
    run(line.as_bytes());
    assert_eq!(error(line.as_bytes()), ProxyHeaderError::NoLineEnd);
}

#[test]
fn each_fault_of_a_binary_header_is_named_at_its_byte() {
    let whole = binary(0x21, 0x11, &[1; 12]);
    for at in 0..12 {
        let mut bytes = whole.clone();
        bytes[at] = 0x99;
        let wrong = error(&bytes[..=at]);
        assert!(matches!(wrong, ProxyHeaderError::Missing { .. }), "{at}");
    }
    for byte in (0..=255).filter(|byte| !matches!(byte, 0x20 | 0x21)) {
        let text = match byte >> 4 {
            2 => format!(
                "the header has the command {}; it must be 0 or 1",
                byte & 15
            ),
            version => format!("the header says version {version}; it must be 2"),
        };
        assert_eq!(error(&binary(byte, 0x11, &[1; 12])[..13]).to_string(), text);
    }
    for byte in (0..=255).filter(|byte| byte >> 4 > 3 || byte & 15 > 2) {
        let error = error(&binary(0x21, byte, &[1; 12])[..14]);
        assert_eq!(error, ProxyHeaderError::Family { byte });
    }
    for (family, addresses) in [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216)] {
        let length = addresses - 1;
        let error = error(&binary(0x21, family, &vec![0; length])[..16]);
        assert_eq!(error, ProxyHeaderError::Short { length, addresses });
    }
}

/// Each header in every two parts, and each beginning of it.
#[test]
fn headers_may_come_in_any_parts() {
    let mut headers: Vec<_> = [None, Some("192.0.2.7:56324"), Some("[2001:db8::ffff]:9")]
        .into_iter()
        .flat_map(|from| [1, 2].map(|version| write(from.map(address), version)))
        .collect();
    headers.push(binary(0x21, 0x31, &[b'a'; 300]));
    for bytes in headers {
        run(&bytes);
        for length in 0..bytes.len() {
            let Ok(HeaderProgress::Needs(more)) = read(&bytes[..length]) else {
                panic!("{}", bytes[..length].escape_ascii());
            };
            assert!(0 < more && length + more <= bytes.len(), "{length} {more}");
            run(&bytes[..length]);
        }
    }
}

/// All changes of one byte of a header.
#[test]
fn changed_headers_are_read_alike_in_any_parts() {
    for version in [1, 2] {
        let whole = write(Some(address("192.0.2.7:56324")), version);
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                run(&bytes);
            }
        }
    }
}
