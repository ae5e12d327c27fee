//! The identity of a caller: credentials, the check of them, and its result.
//!
//! ```text
//!  ProvideCredentials ─► Credentials ─ ─ hello ─ ─► Presented ─► Authenticate ─┬► Identity, of a peer or a call
//!      (for each dial)                              (and facts)                └► Refusal, with a reason
//! ```
//!
//! Nothing here holds a connection. A handshake, or another protocol, makes a [`Presented`] and asks the
//! [`Authenticator`], or a [`HelloCheck`] within its time; an end of either is an error of connections.

mod authenticator;
mod credentials;
mod hello_check;
mod presented;
mod provider;
mod refusal;
mod user;

pub use crate::identity::{
    authenticator::Authenticate, credentials::Credentials, presented::Presented,
    provider::ProvideCredentials, refusal::Refusal, user::Identity,
};
pub(crate) use crate::identity::{
    authenticator::Authenticator,
    hello_check::{CheckedHello, HelloCheck},
    provider::CredentialsSource,
};
