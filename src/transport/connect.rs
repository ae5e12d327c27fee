//! Opening transports, by the scheme of an address.

use std::io;

use crate::transport::{Address, Attempts, BoxFuture, SocketOptions, Transport};

/// Opens transports to addresses of one scheme. See
/// [`PeerBuilder::connector`](crate::PeerBuilder::connector).
///
/// ```
/// use std::io;
/// use wawo::{
///     Address, SocketOptions, Transport,
///     transport::{Attempts, BoxFuture, Connect, Tcp},
/// };
///
/// /// `near://7` is port 4007 of this machine.
/// struct Near;
///
/// impl Connect for Near {
///     fn scheme(&self) -> &str {
///         "near"
///     }
///
///     fn connect<'a>(
///         &'a self,
///         address: &'a Address,
///         options: &'a SocketOptions,
///         attempts: &'a mut Attempts,
///     ) -> BoxFuture<'a, io::Result<Box<dyn Transport>>> {
///         Box::pin(async move {
///             let Address::Other { rest, .. } = address else {
///                 return Err(io::ErrorKind::InvalidInput.into());
///             };
///             let at = Address::Tcp(format!("localhost:400{rest}"));
///             Tcp.connect(&at, options, attempts).await
///         })
///     }
/// }
///
/// let peer = wawo::Peer::builder("near://7").connector(Near);
/// ```
pub trait Connect: Send + Sync + 'static {
    /// The scheme, such as `vsock`, without `://`. It may be that of a built-in connector, such as `tcp`,
    /// which is replaced.
    fn scheme(&self) -> &str;

    /// Opens a transport to an address, whose scheme is that of [`scheme`](Self::scheme).
    ///
    /// It may take long: the caller applies the connect timeout, and drops the future when that is over.
    /// If there are several places to try, `attempts` records how far it came.
    ///
    /// `options` are those of the builder, for transports that are sockets of the operating system.
    ///
    /// # Errors
    ///
    /// If nothing accepts at the address; the error that the caller gets names the address.
    fn connect<'a>(
        &'a self,
        address: &'a Address,
        options: &'a SocketOptions,
        attempts: &'a mut Attempts,
    ) -> BoxFuture<'a, io::Result<Box<dyn Transport>>>;
}
