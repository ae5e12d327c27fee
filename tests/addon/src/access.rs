//! A layer that authorises: which user may call which methods.

use std::collections::{BTreeMap, BTreeSet};

use wawo::{
    Delivery, Request, Response, Result, Status,
    layer::{Intercept, Next},
};

use crate::protocol::User;

/// Lets users call the methods that are listed for them, and no others: give it to
/// [`layer::intercept`](wawo::layer::intercept).
///
/// The user is the [`User`] of the peer that calls, whatever protocol it came by. The handler of a call
/// that is refused has not seen it, and its status says so.
#[derive(Debug, Default)]
pub struct Access(BTreeMap<User, BTreeSet<String>>);

impl Access {
    /// Lets a user call the method with this full name, such as `chat.v1.Chat/Join`.
    #[must_use = "returns the list with the entry"]
    pub fn allow(mut self, user: &str, method: &str) -> Self {
        let methods = self.0.entry(User(user.to_owned())).or_default();
        methods.insert(method.to_owned());
        self
    }

    fn check(&self, request: &Request) -> Result<()> {
        let user = request
            .peer()
            .and_then(|peer| peer.extensions().get::<User>());
        let Some(user) = user else {
            return Err(Status::unauthenticated(
                "log in first: the peer has no user",
            ));
        };
        let method = request.descriptor().map(|method| method.path());
        let method = method.unwrap_or("a method that is not served here");
        match self
            .0
            .get(&user)
            .is_some_and(|methods| methods.contains(method))
        {
            true => Ok(()),
            false => {
                let text = format!("{} may not call {method}", user.0);
                Err(Status::permission_denied(text))
            }
        }
    }
}

impl Intercept for Access {
    async fn call(&self, request: Request, next: Next) -> Result<Response> {
        let allowed = self.check(&request);
        allowed.map_err(|status| status.with_delivery(Delivery::NotSent))?;
        next.call(request).await
    }
}
