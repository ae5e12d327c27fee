//! Listens at a name that has several addresses, at one port.

use std::{io, net::SocketAddr};

/// How often the system chooses a port, at most. A port that it chose at one address may be taken at
/// another; then it chooses again. Of the thousands of ports that it chooses from, few are taken.
const MAX_CHOICES: usize = 16;

/// Opens a socket at each of the addresses, all at one port. `port` returns the port of the first socket.
///
/// Addresses that this machine does not have are left out, unless it has none of them: so `localhost`
/// works without IPv6. Any other failure is an error, because a server that can be reached only at some
/// of its addresses is hard to notice.
pub(super) fn bind_all<S>(
    addresses: &[SocketAddr],
    open: impl Fn(SocketAddr) -> io::Result<S>,
    port: impl Fn(&S) -> io::Result<u16>,
) -> io::Result<Vec<S>> {
    let mut choices = 1;
    loop {
        match bind_once(addresses, &open, &port) {
            Err(BindFailure { error, chose }) if chose && choices < MAX_CHOICES => {
                tracing::debug!(target: "wawo::transport", %error, "a port that was free at one address is taken at another");
                choices += 1;
            }
            result => return result.map_err(|failed| failed.error),
        }
    }
}

struct BindFailure {
    error: io::Error,
    /// Whether the system chose the port, so that another one may be free at all addresses.
    chose: bool,
}

fn bind_once<S>(
    addresses: &[SocketAddr],
    open: &impl Fn(SocketAddr) -> io::Result<S>,
    port: &impl Fn(&S) -> io::Result<u16>,
) -> Result<Vec<S>, BindFailure> {
    let mut opened: Vec<S> = Vec::new();
    let mut missing = None;
    for address in addresses {
        let mut address = *address;
        let may_choose = address.port() == 0 && !opened.is_empty();
        if let Some(first) = opened.first() {
            address.set_port(port(first).map_err(BindFailure::for_good)?);
        }
        match open(address) {
            Ok(socket) => opened.push(socket),
            Err(error) if is_missing(&error) => missing = Some((address, error)),
            Err(error) => {
                let chose = may_choose && error.kind() == io::ErrorKind::AddrInUse;
                let error = named(addresses, address, error);
                return Err(BindFailure { error, chose });
            }
        }
    }
    match missing {
        Some((address, error)) if opened.is_empty() => {
            Err(BindFailure::for_good(named(addresses, address, error)))
        }
        Some((address, error)) => {
            tracing::debug!(target: "wawo::transport", %address, %error, "not listening at an address that this machine lacks");
            Ok(opened)
        }
        None => Ok(opened),
    }
}

impl BindFailure {
    fn for_good(error: io::Error) -> Self {
        let chose = false;
        Self { error, chose }
    }
}

/// Whether the machine does not have the address, or has no address of its family.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(FAMILY_NOT_SUPPORTED)
}

#[cfg(unix)]
const FAMILY_NOT_SUPPORTED: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();

/// The code `WSAEAFNOSUPPORT` of Windows.
#[cfg(not(unix))]
const FAMILY_NOT_SUPPORTED: i32 = 10047;

/// Adds to an error which of several addresses it is about.
fn named(addresses: &[SocketAddr], address: SocketAddr, error: io::Error) -> io::Error {
    match addresses {
        [_] => error,
        _ => io::Error::new(error.kind(), format!("{address}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        io::{self, ErrorKind},
        net::SocketAddr,
    };

    use super::{FAMILY_NOT_SUPPORTED, MAX_CHOICES, bind_all};

    fn localhost(port: u16) -> [SocketAddr; 2] {
        [
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
            SocketAddr::from(([127, 0, 0, 1], port)),
        ]
    }

    /// Opens sockets, which are their addresses here; port 0 becomes 5000, 5001 and so on.
    struct Machine {
        next: Cell<u16>,
        has_ipv6: Result<(), fn() -> io::Error>,
        taken_at_ipv4: fn(u16) -> bool,
    }

    impl Machine {
        fn new() -> Self {
            Self {
                next: Cell::new(5000),
                has_ipv6: Ok(()),
                taken_at_ipv4: |_| false,
            }
        }

        fn open(&self, mut address: SocketAddr) -> io::Result<SocketAddr> {
            if address.port() == 0 {
                address.set_port(self.next.replace(self.next.get() + 1));
            }
            match self.has_ipv6 {
                Err(error) if address.is_ipv6() => Err(error()),
                _ if address.is_ipv4() && (self.taken_at_ipv4)(address.port()) => {
                    Err(ErrorKind::AddrInUse.into())
                }
                _ => Ok(address),
            }
        }

        fn bind(&self, addresses: &[SocketAddr]) -> io::Result<Vec<SocketAddr>> {
            bind_all(
                addresses,
                |address| self.open(address),
                |address| Ok(address.port()),
            )
        }
    }

    #[test]
    fn all_addresses_have_one_port() {
        assert_eq!(Machine::new().bind(&localhost(80)).unwrap(), localhost(80));
        assert_eq!(Machine::new().bind(&localhost(0)).unwrap(), localhost(5000));
    }

    #[test]
    fn a_machine_without_ipv6_listens_at_ipv4() {
        let errors: [fn() -> io::Error; 2] = [
            || ErrorKind::AddrNotAvailable.into(),
            || io::Error::from_raw_os_error(FAMILY_NOT_SUPPORTED),
        ];
        for error in errors {
            let mut machine = Machine::new();
            machine.has_ipv6 = Err(error);
            let opened = machine.bind(&localhost(80)).unwrap();
            assert_eq!(opened, localhost(80)[1..]);
            let alone = machine.bind(&localhost(80)[..1]).unwrap_err();
            assert_eq!(alone.to_string(), error().to_string());
        }
    }

    #[test]
    fn an_address_that_is_taken_ends_it_and_is_named() {
        let mut machine = Machine::new();
        machine.taken_at_ipv4 = |_| true;
        let error = machine.bind(&localhost(80)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let text = "127.0.0.1:80: address in use";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn a_port_that_was_chosen_is_chosen_again_until_it_is_free_at_all_addresses() {
        let mut machine = Machine::new();
        machine.taken_at_ipv4 = |port| port < 5003;
        assert_eq!(machine.bind(&localhost(0)).unwrap(), localhost(5003));
    }

    #[test]
    fn a_port_is_not_chosen_for_ever() {
        let mut machine = Machine::new();
        machine.taken_at_ipv4 = |_| true;
        let error = machine.bind(&localhost(0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let choices = u16::try_from(MAX_CHOICES).unwrap();
        assert_eq!(machine.next.get(), 5000 + choices);
    }
}
