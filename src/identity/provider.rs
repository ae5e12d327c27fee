//! The credentials of this side, asked for when they are needed.

use std::{fmt, sync::Arc};

use crate::{
    identity::credentials::Credentials, panic_fence::PanicFence, status::BoxError,
    transport::BoxFuture,
};

/// The credentials of this side, asked for anew for each connection, since tokens expire.
///
/// [`Credentials`] are themselves, and so is a closure that returns a future of them:
///
/// ```
/// # async fn fresh_token() -> Result<String, std::io::Error> { Ok(String::new()) }
/// use wawo::{Credentials, Peer};
///
/// let fixed = Peer::builder("tcp://127.0.0.1:4000").credentials(Credentials::token("secret"));
/// let fresh = Peer::builder("tcp://127.0.0.1:4000")
///     .credentials(async || Ok(Credentials::token(fresh_token().await?)));
/// # let _ = (fixed, fresh);
/// ```
pub trait ProvideCredentials: Send + Sync + 'static {
    /// The credentials for one connection. It may take long: the caller has a timeout, and then drops the
    /// future.
    ///
    /// # Errors
    ///
    /// If there are none; no connection is made then.
    fn credentials(&self) -> impl Future<Output = Result<Credentials, BoxError>> + Send;
}

impl ProvideCredentials for Credentials {
    async fn credentials(&self) -> Result<Self, BoxError> {
        Ok(self.clone())
    }
}

impl<F, Fut> ProvideCredentials for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Credentials, BoxError>> + Send,
{
    fn credentials(&self) -> impl Future<Output = Result<Credentials, BoxError>> + Send {
        self()
    }
}

/// The text of the panic is not logged, since it may contain credentials. The panic hook of the program
/// prints it.
const PANICKED: &str = "the provider of the credentials panicked";

/// The provider of one side, with its type erased.
#[derive(Clone)]
pub(crate) struct CredentialsSource(Arc<dyn ErasedProvider>);

trait ErasedProvider: Send + Sync {
    fn credentials(self: Arc<Self>) -> BoxFuture<'static, Result<Credentials, BoxError>>;
}

impl<P: ProvideCredentials> ErasedProvider for P {
    fn credentials(self: Arc<Self>) -> BoxFuture<'static, Result<Credentials, BoxError>> {
        Box::pin(async move { ProvideCredentials::credentials(&*self).await })
    }
}

impl CredentialsSource {
    pub(crate) fn new(provider: impl ProvideCredentials) -> Self {
        Self(Arc::new(provider))
    }

    /// Asks for the credentials of one connection.
    ///
    /// # Errors
    ///
    /// That of the provider; also if it panics.
    pub(crate) async fn ask(&self) -> Result<Credentials, BoxError> {
        let provider = self.0.clone();
        match PanicFence::new(|| provider.credentials()) {
            Ok(asked) => asked.await.unwrap_or_else(|_| Err(PANICKED.into())),
            Err(_) => Err(PANICKED.into()),
        }
    }
}

impl fmt::Debug for CredentialsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsSource")
    }
}
