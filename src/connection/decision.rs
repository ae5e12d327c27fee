//! The decision about the hello of the other side, before there is a driver.

use std::{
    borrow::Cow,
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use wawo_protocol::{ConnectionError, Hello, time::after};

use crate::{
    identity::{CheckedHello, Credentials, HelloCheck, Presented},
    transport::{Address, BoxFuture, Transport},
};

/// A check of the hello of one connection, and all that is known besides the hello.
#[derive(Debug)]
pub(crate) struct PendingCheck {
    pub(crate) check: Arc<HelloCheck>,
    /// See [`Presented::protocol`].
    pub(crate) protocol: Cow<'static, str>,
    pub(crate) address: Option<Address>,
    /// The beginning of the handshake.
    pub(crate) since: Instant,
    /// How long the handshake may take.
    pub(crate) timeout: Duration,
}

/// The decision about a hello.
///
/// ```text
///   Due ── the hello is whole ──► UnderWay ── accepted, refused, no time ──► (its result)
///    └──── nothing to check ────────────────────────────────────────────────────▲
/// ```
pub(super) enum Decision {
    /// The hello has not come. `None` accepts every hello.
    Due(Option<Box<PendingCheck>>),
    UnderWay(BoxFuture<'static, Result<CheckedHello, ConnectionError>>),
}

impl Decision {
    /// Decides, once the hello is here. It takes the credentials out of the hello, which is kept for long.
    /// It must not be polled again after it is ready.
    pub(super) fn poll(
        &mut self,
        hello: &mut Hello,
        transport: &dyn Transport,
        cx: &mut Context<'_>,
    ) -> Poll<Result<CheckedHello, ConnectionError>> {
        if let Self::Due(check) = self {
            let credentials = Credentials::new(mem::take(&mut hello.credentials));
            let Some(check) = check.take() else {
                return Poll::Ready(Ok(CheckedHello::default()));
            };
            let presented = Presented::new(check.protocol.clone())
                .with_credentials(credentials)
                .with_claimed_name(hello.claimed_name.clone())
                .with_facts(transport.facts());
            *self = Self::UnderWay(check.begin(presented));
        }
        match self {
            Self::Due(_) => Poll::Pending,
            Self::UnderWay(check) => check.as_mut().poll(cx),
        }
    }
}

impl PendingCheck {
    fn begin(
        self,
        mut presented: Presented,
    ) -> BoxFuture<'static, Result<CheckedHello, ConnectionError>> {
        if let Some(address) = self.address {
            presented = presented.with_address(address);
        }
        let until = after(self.since, self.timeout);
        Box::pin(async move {
            let check = self.check.check(presented, until.into(), self.timeout);
            check.await
        })
    }
}
