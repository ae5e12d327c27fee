//! Addresses, in one syntax for all transports.

mod convert;
mod host;
mod pipe;

use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

pub(crate) use crate::transport::address::host::HostPort;
#[cfg(windows)]
pub(crate) use crate::transport::address::pipe::path as pipe_path;

/// The address of a peer, or the one at which a server listens.
///
/// | text | transport |
/// |---|---|
/// | `tcp://host:port` | TCP; port 0 lets a server choose a free one |
/// | `unix:///run/app.sock` | a Unix socket, by path; Unix only |
/// | `unix://@name` | an abstract Unix socket, by name; Linux only |
/// | `pipe://name` | a named pipe of this machine; Windows only |
/// | `mem://name` | within this process, by name |
/// | `tls://host:port` | TLS over TCP; with the feature `tls` |
/// | `tls+unix:///path`, `tls+pipe://name`, `tls+mem://name` | TLS over another transport |
/// | `tls+scheme://rest` | TLS over a transport that a builder was given |
/// | `scheme://rest` | of another scheme: a [`Connect`] or [`Listen`] that a builder was given |
///
/// A host is a name, an IPv4 address such as `127.0.0.1`, or an IPv6 address in brackets such as
/// `[::1]`. A port is a number from 0 to 65535 without a sign or leading zeros. The path of a socket
/// has at most 107 bytes on Linux and 103 on macOS and the BSDs; a file whose name begins with `@`
/// is written `unix://./@name`. The name of a pipe has at most 247 characters (UTF-16 code units). It
/// contains no slash, backslash or control character, and ends with no dot or space; Windows ignores its
/// case. A scheme has lower-case letters, digits, `+`, `-` and `.`, and begins with a letter.
///
/// Functions that take an address also take its text, or a [`SocketAddr`](std::net::SocketAddr).
///
/// [`Connect`]: crate::transport::Connect
/// [`Listen`]: crate::transport::Listen
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// Host and port.
    Tcp(String),
    /// The path of a socket.
    Unix(PathBuf),
    /// The name of an abstract Unix socket, without the `@`.
    Abstract(String),
    /// The name of a named pipe, without `\\.\pipe\`.
    Pipe(String),
    /// A name within this process.
    Memory(String),
    /// TLS over a transport at another address, which is not of TLS itself.
    Tls(Box<Self>),
    /// An address of a scheme that is not built in.
    Other {
        /// The scheme, such as `vsock`.
        scheme: String,
        /// All that follows `://`, at least one byte. Only the transport knows its form.
        rest: String,
    },
}

impl Address {
    /// The scheme, such as `tcp`: the text before `://`. It is `tls` for all addresses of TLS, whatever is
    /// below.
    pub fn scheme(&self) -> &str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Unix(_) | Self::Abstract(_) => "unix",
            Self::Pipe(_) => "pipe",
            Self::Memory(_) => "mem",
            Self::Tls(_) => "tls",
            Self::Other { scheme, .. } => scheme,
        }
    }

    /// The host, path or name, and the port if it has one.
    pub(crate) fn name_and_port(&self) -> (Cow<'_, str>, Option<u16>) {
        match self {
            Self::Tcp(text) => match HostPort::parse(text) {
                Ok(parts) => (parts.host.into(), Some(parts.port)),
                Err(_) => (text.into(), None),
            },
            Self::Unix(path) => (path.to_string_lossy(), None),
            Self::Abstract(name) => (format!("@{name}").into(), None),
            Self::Pipe(name) | Self::Memory(name) => (name.into(), None),
            Self::Tls(below) => below.name_and_port(),
            Self::Other { rest, .. } => (rest.into(), None),
        }
    }
}

/// The error of a text that is not an address.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("`{}` is not an address: {reason}; {}", text.escape_debug(), hint(text))]
#[non_exhaustive]
pub struct AddressError {
    /// The text.
    pub text: String,
    /// The reason why it is not an address.
    pub reason: &'static str,
}

/// As `Display`: a `main` that returns the error prints it by `Debug`.
impl fmt::Debug for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse(text).map_err(|reason| AddressError {
            text: text.to_owned(),
            reason,
        })
    }
}

/// How addresses of this kind are written; of all kinds, if the text has no known scheme.
fn hint(text: &str) -> &'static str {
    match text.trim_start().split_once("://") {
        Some(("tcp", _)) => "write tcp://host:port",
        Some(("unix", _)) => "write unix:///path, or unix://@name for an abstract name",
        Some(("pipe", _)) => "write pipe://name",
        Some(("mem", _)) => "write mem://name",
        Some((scheme, _)) if scheme == "tls" || scheme.starts_with("tls+") => {
            "write tls://host:port, or tls+ before another address, as in tls+unix:///path"
        }
        _ => "write tcp://host:port, unix:///path, unix://@name, pipe://name or mem://name",
    }
}

/// The address, or the reason why the text is not one.
fn parse(text: &str) -> Result<Address, &'static str> {
    if text.trim() != text {
        return Err("it begins or ends with white space");
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let begins_with_scheme = ["tcp:", "unix:", "pipe:", "mem:", "tls:"];
        return Err(
            match begins_with_scheme
                .iter()
                .any(|begin| text.starts_with(begin))
            {
                true => "no `//` follows its scheme",
                false => "it has no scheme",
            },
        );
    };
    if let Some(below) = below_tls(scheme) {
        return parse_scheme(below, rest).map(|below| Address::Tls(Box::new(below)));
    }
    parse_scheme(scheme, rest)
}

/// The scheme that an address of TLS has below, if it is one.
fn below_tls(scheme: &str) -> Option<&str> {
    match scheme {
        "tls" => Some("tcp"),
        _ => scheme.strip_prefix("tls+"),
    }
}

/// The address of a scheme without TLS, or the reason why the text is not one.
fn parse_scheme(scheme: &str, rest: &str) -> Result<Address, &'static str> {
    match scheme {
        "tls" => Err("it has TLS inside of TLS"),
        _ if scheme.starts_with("tls+") => Err("it has TLS inside of TLS"),
        "tcp" => HostPort::parse(rest).map(|_| Address::Tcp(rest.to_owned())),
        "unix" => parse_unix(rest),
        "pipe" => pipe::check(rest).map(|()| Address::Pipe(rest.to_owned())),
        "mem" if rest.is_empty() => Err("it has no name"),
        "mem" => Ok(Address::Memory(rest.to_owned())),
        _ if !is_scheme(scheme) => Err(NOT_A_SCHEME),
        _ if rest.is_empty() => Err("nothing follows its scheme"),
        _ => Ok(Address::Other {
            scheme: scheme.to_owned(),
            rest: rest.to_owned(),
        }),
    }
}

const NOT_A_SCHEME: &str =
    "its scheme is not lower-case letters, digits, `+`, `-` and `.` that begin with a letter";

/// Whether a text is a scheme in the sense of RFC 3986, section 3.1, in lower case.
fn is_scheme(text: &str) -> bool {
    let may_follow = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.')
    };
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.as_bytes().iter().all(may_follow)
}

fn parse_unix(rest: &str) -> Result<Address, &'static str> {
    if rest.contains('\0') {
        return Err("it contains a zero byte");
    }
    match rest.strip_prefix('@') {
        None if rest.is_empty() => Err("it has no path"),
        None if rest.len() > MAX_PATH_BYTES => Err(PATH_TOO_LONG),
        None if rest.ends_with('/') => Err("its path ends with a slash, so it names a folder"),
        None => Ok(Address::Unix(rest.into())),
        Some("") => Err("it has no name"),
        Some(name) if name.len() > MAX_PATH_BYTES => Err(PATH_TOO_LONG),
        Some(name) => Ok(Address::Abstract(name.to_owned())),
    }
}

/// How many bytes the path of a Unix socket may have: the length of the system's `sun_path`, less one for
/// the zero at its end.
pub(crate) const MAX_PATH_BYTES: usize = if HAS_SHORT_PATHS { 103 } else { 107 };

const PATH_TOO_LONG: &str = if HAS_SHORT_PATHS {
    "its path is longer than the 103 bytes that the path of a socket may have"
} else {
    "its path is longer than the 107 bytes that the path of a socket may have"
};

const HAS_SHORT_PATHS: bool = cfg!(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
));

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host) => write!(f, "tcp://{host}"),
            Self::Unix(path) => write!(f, "unix://{}{}", file_prefix(path), path.display()),
            Self::Abstract(name) => write!(f, "unix://@{name}"),
            Self::Pipe(name) => write!(f, "pipe://{name}"),
            Self::Memory(name) => write!(f, "mem://{name}"),
            Self::Tls(below) => match &**below {
                Self::Tcp(host) => write!(f, "tls://{host}"),
                below => write!(f, "tls+{below}"),
            },
            Self::Other { scheme, rest } => write!(f, "{scheme}://{rest}"),
        }
    }
}

/// Distinguishes a file from an abstract socket of the same name.
fn file_prefix(path: &Path) -> &'static str {
    match path.to_string_lossy().starts_with('@') {
        true => "./",
        false => "",
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Address, MAX_PATH_BYTES};

    #[test]
    fn addresses_read_and_write_the_same() {
        for text in [
            "tcp://127.0.0.1:0",
            "tcp://[::1]:80",
            "tcp://[::]:65535",
            "tcp://[fe80::1%eth0]:80",
            "tcp://a-b.c_d.example.:80",
            "tcp://1.example:80",
            "unix:///tmp/a",
            "unix://a/b c",
            "unix://./@a",
            "unix://@a",
            "pipe://A b.c",
            "mem://a",
            "tls://a.example:443",
            "tls+unix:///tmp/a",
            "tls+unix://@a",
            "tls+pipe://a",
            "tls+mem://a",
            "tls+vsock://3:1024",
            "vsock://3:1024",
            "git+ssh2.x-y://a/b?c",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_file_is_not_written_as_an_abstract_socket() {
        let file = Address::Unix(PathBuf::from("@a"));
        assert_eq!(file.to_string(), "unix://./@a");
        let name = Address::Abstract("a".to_owned());
        assert_eq!("unix://@a".parse(), Ok(name));
    }

    #[test]
    fn the_longest_path_is_an_address_and_one_byte_more_is_not() {
        for prefix in ["/", "@"] {
            let longest = match prefix {
                "/" => format!("unix:///{}", "a".repeat(MAX_PATH_BYTES - 1)),
                _ => format!("unix://@{}", "a".repeat(MAX_PATH_BYTES)),
            };
            longest.parse::<Address>().unwrap();
            let error = format!("{longest}a").parse::<Address>().unwrap_err();
            assert!(error.reason.contains("longer than"), "{error}");
        }
    }

    #[test]
    fn an_error_names_what_is_wrong_with_an_address() {
        for (text, reason) in [
            ("", "no scheme"),
            ("localhost:80", "no scheme"),
            ("unix:/tmp/a", "no `//` follows"),
            ("unix://", "no path"),
            ("unix:///tmp/", "folder"),
            ("unix:///tmp/a ", "white space"),
            ("unix://@", "no name"),
            ("mem://", "no name"),
            ("pipe://", "no name"),
            ("pipe://a/b", "a slash"),
            (" mem://a", "white space"),
            ("http://", "nothing follows"),
            ("://a", "its scheme is not"),
            ("TCP://a:1", "its scheme is not lower-case"),
            ("9p://a", "begin with a letter"),
            ("a b://c", "its scheme is not"),
            ("tcp://127.0.0.1:+80", "port is not a number"),
            ("tls:a:1", "no `//` follows"),
            ("tls://a", "it has no port"),
            ("tls+unix://", "it has no path"),
            ("tls+://a", "its scheme is not"),
            ("tls+tls://a:1", "TLS inside of TLS"),
            ("tls+tls+mem://a", "TLS inside of TLS"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(text), "{error}");
        }
        for (text, hint) in [
            ("tcp://a", "; write tcp://host:port"),
            (
                "unix://",
                "; write unix:///path, or unix://@name for an abstract name",
            ),
            ("pipe://", "; write pipe://name"),
            ("mem://", "; write mem://name"),
            (
                "tls+unix://",
                "; write tls://host:port, or tls+ before another address, as in tls+unix:///path",
            ),
            (
                "a",
                "; write tcp://host:port, unix:///path, unix://@name, pipe://name or mem://name",
            ),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.ends_with(hint), "{error}");
        }
        let error = "unix:///tmp/a\0b".parse::<Address>().unwrap_err();
        let text = "`unix:///tmp/a\\0b` is not an address: it contains a zero byte";
        assert!(error.to_string().starts_with(text), "{error}");
    }
}
