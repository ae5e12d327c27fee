//! TLS: encrypted connections whose ends prove who they are, behind the feature `tls`. The page
//! [`guide::tls`](crate::guide::tls) goes from a first certificate to clients that have their own.
//!
//! ```text
//!  Pem ──► certificate, key, roots ──► ServerTls, ClientTls ── handshake ──► a transport
//!   │      (read from files)            │ (a configuration, swapped           │
//!   └── files change ───────────────────┘  when the files change)             └─► facts: the other's certificates
//! ```
//!
//! A server does the handshake of TLS in the task of the socket, and a connecting side as a part of the connect.
//! Everything above sees a transport.

mod alpn;
mod certificate;
mod client;
mod connector;
mod error;
mod explain;
mod live;
mod names;
mod pem;
mod plain;
mod provider;
mod server;
mod server_name;
mod socket;
mod stream;
mod trust;

pub use tokio_rustls::rustls;

pub(crate) use crate::transport::tls::{
    alpn::OfferedProtocols,
    connector::TlsConnector,
    explain::explain_server_error,
    server::{NewServerSide, Reverify},
    socket::{ReadCount, TlsSocket},
    stream::into_transport,
};
pub use crate::transport::tls::{
    client::{ClientTls, ClientTlsBuilder},
    error::TlsError,
    names::CertificateNames,
    pem::Pem,
    server::{ServerTls, ServerTlsBuilder},
};
