//! The implementation of the cryptography.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};

/// The provider of one configuration. It is always named: with two providers in one program, rustls has no
/// default, and panics.
pub(super) fn or_default_provider(given: Option<&Arc<CryptoProvider>>) -> Arc<CryptoProvider> {
    given.map_or_else(|| Arc::new(ring::default_provider()), Arc::clone)
}
