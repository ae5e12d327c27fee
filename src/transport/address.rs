//! Addresses, in one syntax for all transports.

use std::{fmt, path::PathBuf, str::FromStr};

use thiserror::Error;

/// Where a peer is, or where a server listens.
///
/// | text | transport |
/// |---|---|
/// | `tcp://host:port` | TCP; port 0 lets a server choose a free one |
/// | `unix:///run/app.sock` | a Unix socket, by path |
/// | `mem://name` | within this process, by name |
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// Host and port.
    Tcp(String),
    /// The path of a socket.
    Unix(PathBuf),
    /// A name within this process.
    Memory(String),
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not an address: {reason}; write tcp://host:port, unix:///path or mem://name")]
#[non_exhaustive]
pub struct AddressError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |reason| AddressError {
            text: text.to_owned(),
            reason,
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(wrong("it has no scheme"));
        };
        match scheme {
            "tcp" => match rest.rsplit_once(':') {
                None => Err(wrong("it has no port")),
                Some(("", _)) => Err(wrong("it has no host")),
                Some((_, port)) if port.parse::<u16>().is_err() => {
                    Err(wrong("its port is not a number from 0 to 65535"))
                }
                Some(_) => Ok(Self::Tcp(rest.to_owned())),
            },
            "unix" if rest.is_empty() => Err(wrong("it has no path")),
            "unix" => Ok(Self::Unix(rest.into())),
            "mem" if rest.is_empty() => Err(wrong("it has no name")),
            "mem" => Ok(Self::Memory(rest.to_owned())),
            _ => Err(wrong("its scheme is not known")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host) => write!(f, "tcp://{host}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Memory(name) => write!(f, "mem://{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn addresses_read_and_write_the_same() {
        for text in [
            "tcp://127.0.0.1:0",
            "tcp://[::1]:80",
            "unix:///tmp/a",
            "mem://a",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_named() {
        for (text, reason) in [
            ("localhost:80", "no scheme"),
            ("tcp://localhost", "no port"),
            ("tcp://:80", "no host"),
            ("tcp://localhost:http", "port is not a number"),
            ("tcp://localhost:65536", "port is not a number"),
            ("unix://", "no path"),
            ("mem://", "no name"),
            ("http://a:1", "scheme is not known"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(text), "{error}");
        }
    }
}
