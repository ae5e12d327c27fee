//! The check of a hello: who the other side is, and with which credentials this side answers.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use wawo_protocol::ConnectionError;

use crate::identity::{
    authenticator::Authenticator, presented::Presented, provider::CredentialsSource, user::Identity,
};

/// How one side checks the hello of the other. The default accepts every hello, proves nothing and answers
/// without credentials.
#[derive(Debug, Clone, Default)]
pub(crate) struct HelloCheck {
    pub(crate) authenticator: Option<Authenticator>,
    /// The credentials for the answer. The side that connects has presented its own before.
    pub(crate) credentials: Option<CredentialsSource>,
}

/// The outcome of a check that has succeeded.
#[derive(Debug, Default)]
pub(crate) struct CheckedHello {
    pub(crate) identity: Option<Identity>,
    pub(crate) credentials: Bytes,
}

impl HelloCheck {
    /// Whether it accepts every hello, and answers without credentials.
    pub(crate) fn is_empty(&self) -> bool {
        self.authenticator.is_none() && self.credentials.is_none()
    }

    /// Checks a hello, until this time, which is `timeout` after the beginning of the handshake.
    ///
    /// # Errors
    ///
    /// If the authenticator refuses, this side has no credentials, or the time is over.
    pub(crate) async fn check(
        &self,
        presented: Presented,
        until: Instant,
        timeout: Duration,
    ) -> Result<CheckedHello, ConnectionError> {
        let checked = timeout_at(until, self.check_untimed(presented)).await;
        checked.unwrap_or(Err(ConnectionError::AcceptTimedOut(timeout)))
    }

    async fn check_untimed(&self, presented: Presented) -> Result<CheckedHello, ConnectionError> {
        let mut checked = CheckedHello::default();
        if let Some(authenticator) = &self.authenticator {
            checked.identity = Some(authenticator.check(presented).await?);
        }
        if let Some(source) = &self.credentials {
            let credentials = source.ask().await;
            let credentials =
                credentials.map_err(|error| ConnectionError::NoCredentials(Arc::from(error)))?;
            checked.credentials = credentials.into_bytes();
        }
        Ok(checked)
    }
}
