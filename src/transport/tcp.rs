//! TCP sockets: opening them, with their settings.

mod happy_eyeballs;
mod listen;
mod resolve;

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::transport::{
    BoxFuture, Connect, Listen, Listener, Transport,
    address::{Address, HostPort},
    attempts::Attempts,
    listen::AcceptedSocket,
    options::SocketOptions,
    socket::{backlog, check_listens},
};

/// Connects and listens over TCP, `tcp://`. Built in. A connector whose transport runs over TCP may use
/// it to open a socket.
#[derive(Debug, Clone, Copy)]
#[allow(
    clippy::exhaustive_structs,
    reason = "it is its name, and has nothing to set"
)]
pub struct Tcp;

const SCHEME: &str = "tcp";

impl Connect for Tcp {
    fn scheme(&self) -> &str {
        SCHEME
    }

    fn connect<'a>(
        &'a self,
        address: &'a Address,
        options: &'a SocketOptions,
        attempts: &'a mut Attempts,
    ) -> BoxFuture<'a, io::Result<Box<dyn Transport>>> {
        Box::pin(async move {
            let stream = connect(host_of(address)?, options, attempts).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}

impl Listen for Tcp {
    fn scheme(&self) -> &str {
        SCHEME
    }

    fn listen<'a>(
        &'a self,
        address: &'a Address,
        options: &'a SocketOptions,
    ) -> BoxFuture<'a, io::Result<Vec<Box<dyn Listener>>>> {
        Box::pin(async move {
            let listeners = PortListener::bind(host_of(address)?, options).await?;
            let boxed = |listener| Box::new(listener) as Box<dyn Listener>;
            Ok(listeners.into_iter().map(boxed).collect())
        })
    }
}

fn host_of(address: &Address) -> io::Result<&str> {
    match address {
        Address::Tcp(host) => Ok(host),
        _ => Err(invalid_input("its scheme is not tcp")),
    }
}

/// Accepts connections at one TCP socket.
#[derive(Debug)]
pub(crate) struct PortListener {
    listener: TcpListener,
    options: SocketOptions,
}

impl PortListener {
    /// Listens at a host and port, with one socket for each address of the host that this machine has.
    async fn bind(host: &str, options: &SocketOptions) -> io::Result<Vec<Self>> {
        let host = HostPort::parse(host).map_err(invalid_input)?;
        let addresses = resolve::addresses(host).await?;
        let open = |address| open_listener(address, options);
        let port = |listener: &Socket| local_address(listener).map(|address| address.port());
        let opened = listen::bind_all(&addresses, open, port)?;
        let listeners = opened.into_iter().map(|socket| {
            let listener = TcpListener::from_std(socket.into())?;
            Self::new(listener, options)
        });
        listeners.collect()
    }

    /// Accepts connections at a socket that listens already.
    pub(crate) fn new(listener: TcpListener, options: &SocketOptions) -> io::Result<Self> {
        listener.local_addr().map_err(|error| {
            let text = format!("it is not a TCP socket: {error}");
            io::Error::new(error.kind(), text)
        })?;
        check_listens(SockRef::from(&listener))?;
        let options = options.clone();
        Ok(Self { listener, options })
    }
}

impl Listener for PortListener {
    fn address(&self) -> io::Result<Address> {
        Ok(address_of(self.listener.local_addr()?))
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<AcceptedSocket>> {
        let (stream, from) = ready!(self.listener.poll_accept(cx))?;
        // Some systems refuse settings of a socket whose peer has closed it already. That is no error of
        // the listener.
        set_options(&stream, &self.options).map_err(|error| {
            let text = format!("cannot set the options of a connection from {from}: {error}");
            io::Error::new(io::ErrorKind::ConnectionAborted, text)
        })?;
        Poll::Ready(Ok(AcceptedSocket::tcp(stream, address_of(from))))
    }
}

/// Connects to a host and port: to the first of the host's addresses that accepts.
async fn connect(
    host: &str,
    options: &SocketOptions,
    attempts: &mut Attempts,
) -> io::Result<TcpStream> {
    let host = HostPort::parse(host).map_err(invalid_input)?;
    if host.port == 0 {
        return Err(invalid_input("port 0 is for listening only"));
    }
    let addresses = resolve::addresses(host).await?;
    match addresses[..] {
        // There is only one address, and the error names it already.
        [address] if host.host.parse() == Ok(address.ip()) => dial(address, options).await,
        _ => {
            let dial = |address| dial(address, options);
            happy_eyeballs::connect(addresses, dial, attempts).await
        }
    }
}

async fn dial(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    refuse_itself(&stream)?;
    set_options(&stream, options)?;
    Ok(stream)
}

/// Refuses a socket that is connected to itself. A connect to a port of this machine at which nothing
/// listens may succeed so, if the system chose that port for this end.
fn refuse_itself(stream: &TcpStream) -> io::Result<()> {
    let (here, there) = (stream.local_addr()?, stream.peer_addr()?);
    if here != there {
        return Ok(());
    }
    // The socket is closed by a reset, so that it leaves no TIME_WAIT, which would hold the server's
    // port.
    SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    let text = format!("nothing listens at {there}: the socket was connected to itself");
    Err(io::Error::new(io::ErrorKind::ConnectionRefused, text))
}

fn set_options(stream: &TcpStream, options: &SocketOptions) -> io::Result<()> {
    stream.set_nodelay(options.nodelay)?;
    if let Some(idle) = options.tcp_keep_alive {
        // On OpenBSD and similar systems the other times are settings of the system, not of a socket.
        let keep_alive = TcpKeepalive::new().with_time(idle);
        #[cfg(any(
            windows,
            target_os = "linux",
            target_os = "android",
            target_os = "freebsd",
            target_os = "netbsd",
            target_vendor = "apple",
        ))]
        let keep_alive = keep_alive.with_interval(idle);
        SockRef::from(stream).set_tcp_keepalive(&keep_alive)?;
    }
    Ok(())
}

/// A socket that listens at an address.
fn open_listener(address: SocketAddr, options: &SocketOptions) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // Without it, a server could not start again while connections of the one before are in TIME_WAIT. On
    // Windows the same setting would let two servers share a port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // Without it, a setting of the system decides whether `[::]` accepts IPv4 too.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog(options))?;
    Ok(socket)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| invalid_input("the socket has no IP address"))
}

fn address_of(address: SocketAddr) -> Address {
    Address::Tcp(resolve::canonical(address).to_string())
}

fn invalid_input(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, net::SocketAddr, time::Duration};

    use socket2::SockRef;
    use tokio::net::{TcpSocket, TcpStream};

    use super::{PortListener, connect, refuse_itself};
    use crate::transport::{Listener, attempts::Attempts, listen::accept, options::SocketOptions};

    async fn listen(host: &str, options: &SocketOptions) -> (PortListener, SocketAddr) {
        let listener = PortListener::bind(host, options).await.unwrap().remove(0);
        let address = listener.listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn a_socket_that_is_connected_to_itself_is_refused_and_frees_its_port() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let stream = socket.connect(address).await.unwrap();
        let error = refuse_itself(&stream).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let text = format!("nothing listens at {address}: the socket was connected to itself");
        assert_eq!(error.to_string(), text);
        drop(stream);
        // Without SO_REUSEADDR, a TIME_WAIT would hold the port.
        let server = TcpSocket::new_v4().unwrap();
        server.set_reuseaddr(false).unwrap();
        server.bind(address).unwrap();
        server.listen(1).unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_is_connected_to_another_is_not_refused() {
        let (listener, address) = listen("127.0.0.1:0", &SocketOptions::new()).await;
        let stream = TcpStream::connect(address).await.unwrap();
        refuse_itself(&stream).unwrap();
        drop(listener);
    }

    #[tokio::test]
    async fn both_ends_have_the_options() {
        for (nodelay, idle) in [(true, None), (false, Some(Duration::from_secs(7)))] {
            let options = SocketOptions::new().nodelay(nodelay).tcp_keep_alive(idle);
            let (mut listener, address) = listen("127.0.0.1:0", &options).await;
            let host = address.to_string();
            let mut attempts = Attempts::default();
            let here = connect(&host, &options, &mut attempts).await.unwrap();
            let there = accept(&mut listener).await.unwrap().into_tcp();
            for stream in [&here, &there] {
                assert_eq!(stream.nodelay().unwrap(), nodelay);
                let socket = SockRef::from(stream);
                assert_eq!(socket.keepalive().unwrap(), idle.is_some());
                #[cfg(target_os = "linux")]
                if let Some(idle) = idle {
                    assert_eq!(socket.tcp_keepalive_time().unwrap(), idle);
                    assert_eq!(socket.tcp_keepalive_interval().unwrap(), idle);
                }
            }
        }
    }

    /// Linux keeps one connection more than the backlog, and drops the packets of others.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_backlog_bounds_the_connections_that_wait_to_be_accepted() {
        let (listener, address) = listen("127.0.0.1:0", &SocketOptions::new().backlog(1)).await;
        let mut waiting = Vec::new();
        for _ in 0..2 {
            waiting.push(TcpStream::connect(address).await.unwrap());
        }
        let one_more = TcpStream::connect(address);
        let wait = Duration::from_millis(100);
        assert!(tokio::time::timeout(wait, one_more).await.is_err());
        drop(listener);
    }

    #[tokio::test]
    async fn an_ipv4_peer_of_an_ipv6_socket_shows_as_ipv4() {
        let options = SocketOptions::new();
        let Ok(mut listeners) = PortListener::bind("[::]:0", &options).await else {
            return; // this machine has no IPv6
        };
        let mut listener = listeners.remove(0);
        let port = listener.listener.local_addr().unwrap().port();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let from = accept(&mut listener).await.unwrap().address().to_string();
        let expected = format!("tcp://{}", stream.local_addr().unwrap());
        assert_eq!(from, expected);
        assert!(expected.starts_with("tcp://127.0.0.1:"), "{expected}");
    }

    #[tokio::test]
    async fn a_mapped_address_is_listened_at_as_ipv4() {
        let options = SocketOptions::new();
        let (listener, _) = listen("[::ffff:127.0.0.1]:0", &options).await;
        let shown = listener.address().unwrap().to_string();
        assert!(shown.starts_with("tcp://127.0.0.1:"), "{shown}");
    }

    #[tokio::test]
    async fn port_0_cannot_be_connected_to() {
        let mut attempts = Attempts::default();
        let options = SocketOptions::new();
        let error = connect("127.0.0.1:0", &options, &mut attempts).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
