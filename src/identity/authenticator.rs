//! The check of who the other side is.

use std::{fmt, sync::Arc};

use crate::{
    identity::{presented::Presented, refusal::Refusal, user::Identity},
    panic_fence::PanicFence,
    transport::BoxFuture,
};

/// Checks who the other side is, before anything of it is served: see
/// [`ServerBuilder::authenticate`](crate::ServerBuilder::authenticate) and
/// [`PeerBuilder::authenticate`](crate::PeerBuilder::authenticate).
///
/// A closure from [`Presented`] to a future of `Result<U, Refusal>` is one, for any type `U`, which becomes
/// the identity:
///
/// ```
/// use wawo::{Presented, Refusal, Server};
///
/// struct User {
///     name: String,
/// }
///
/// let server = Server::builder().authenticate(async |presented: Presented| {
///     match presented.credentials().matches("secret") {
///         true => Ok(User { name: presented.claimed_name().to_owned() }),
///         false => Err(Refusal::new("the token is not known")),
///     }
/// });
/// ```
///
/// - One authenticator serves all handshakes, many of them at once. It may await a database or another
///   service; the `handshake_timeout` includes it.
/// - A panic refuses the one caller, with a neutral reason.
/// - If the time is over, or the server makes room or drains, the future is dropped at the `await` at which
///   it waits.
pub trait Authenticate: Send + Sync + 'static {
    /// Returns who the other side is.
    ///
    /// # Errors
    ///
    /// A refusal, if it is not let in. An error of its own, such as that of a database, becomes one by `?`.
    fn authenticate(
        &self,
        presented: Presented,
    ) -> impl Future<Output = Result<Identity, Refusal>> + Send;
}

impl<F, Fut, U> Authenticate for F
where
    F: Fn(Presented) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<U, Refusal>> + Send,
    U: Send + Sync + 'static,
{
    async fn authenticate(&self, presented: Presented) -> Result<Identity, Refusal> {
        self(presented).await.map(Identity::new)
    }
}

/// The authenticator of one side, with its type erased.
#[derive(Clone)]
pub(crate) struct Authenticator(Arc<dyn ErasedAuthenticate>);

trait ErasedAuthenticate: Send + Sync {
    fn authenticate(
        self: Arc<Self>,
        presented: Presented,
    ) -> BoxFuture<'static, Result<Identity, Refusal>>;
}

impl<A: Authenticate> ErasedAuthenticate for A {
    fn authenticate(
        self: Arc<Self>,
        presented: Presented,
    ) -> BoxFuture<'static, Result<Identity, Refusal>> {
        Box::pin(async move { Authenticate::authenticate(&*self, presented).await })
    }
}

impl Authenticator {
    pub(crate) fn new(authenticate: impl Authenticate) -> Self {
        Self(Arc::new(authenticate))
    }

    /// Checks one caller. A panic of the application's code refuses it.
    pub(crate) async fn check(&self, presented: Presented) -> Result<Identity, Refusal> {
        let authenticate = self.0.clone();
        match PanicFence::new(|| authenticate.authenticate(presented)) {
            Ok(check) => check.await.unwrap_or_else(|_| Err(panicked())),
            Err(_) => Err(panicked()),
        }
    }
}

/// The text of the panic is not logged, since it may contain credentials. The panic hook of the program
/// prints it.
fn panicked() -> Refusal {
    Refusal::new("the check of the credentials failed").with_source("the authenticator panicked")
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator")
    }
}

#[cfg(test)]
mod tests {
    use super::Authenticator;
    use crate::identity::{Credentials, Identity, Presented, Refusal};

    fn with_token(token: &str) -> Presented {
        Presented::new("test").with_credentials(Credentials::token(token))
    }

    #[tokio::test]
    async fn a_closure_returns_a_value_of_any_type_as_the_identity() {
        let authenticator = Authenticator::new(async |presented: Presented| {
            let token = presented
                .token()
                .ok_or_else(|| Refusal::new("a token is required"))?;
            Ok::<_, Refusal>(token.parse::<u32>()?)
        });
        let identity = authenticator.check(with_token("7")).await.unwrap();
        assert_eq!(identity.get::<u32>(), Some(&7));
        for (token, reason) in [
            ("", "a token is required"),
            ("seven", "the credentials were not accepted"),
        ] {
            let refusal = authenticator.check(with_token(token)).await.unwrap_err();
            assert_eq!(refusal.reason(), reason);
        }
    }

    #[tokio::test]
    async fn a_panic_refuses_before_and_after_an_await() {
        let authenticator = Authenticator::new(|presented: Presented| {
            assert_ne!(presented.token(), Some("at once"), "secret");
            async move {
                tokio::task::yield_now().await;
                assert_ne!(presented.token(), Some("later"), "secret");
                Ok(Identity::new(()))
            }
        });
        for token in ["at once", "later"] {
            let refusal = authenticator.check(with_token(token)).await.unwrap_err();
            assert_eq!(refusal.reason(), "the check of the credentials failed");
            let text = format!("{refusal:?}");
            assert!(text.ends_with(": the authenticator panicked"), "{text}");
        }
        authenticator.check(with_token("never")).await.unwrap();
    }
}
