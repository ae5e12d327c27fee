//! Conversions into addresses, for functions that take an address.

use std::{convert::Infallible, net::SocketAddr};

use crate::transport::address::{Address, AddressError};

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(text: &str) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<&String> for Address {
    type Error = AddressError;

    fn try_from(text: &String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.to_string())
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

/// The conversion of an [`Address`] into itself never fails. With this, one bound accepts addresses and
/// texts.
impl From<Infallible> for AddressError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::Address;

    #[test]
    fn an_address_is_made_of_texts_and_of_socket_addresses() {
        let text = "tcp://[::1]:80";
        let address = Address::Tcp("[::1]:80".to_owned());
        assert_eq!(Address::try_from(text).unwrap(), address);
        assert_eq!(Address::try_from(text.to_owned()).unwrap(), address);
        assert_eq!(Address::try_from(&text.to_owned()).unwrap(), address);
        let socket_address: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(Address::from(socket_address), address);
        assert_eq!(Address::from(&address), address);
    }
}
