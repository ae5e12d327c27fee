//! Why a caller was not let in.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use wawo_protocol::ConnectionError;

use crate::{error_chain::ErrorChain, status::BoxError};

/// Why a caller was not let in: a reason that it is told, and perhaps a source that only this side's log
/// has.
///
/// Every error becomes one by `?`, as the source; the other side then gets a neutral reason.
///
/// ```
/// use wawo::{Presented, Refusal};
///
/// async fn user_of(presented: Presented) -> Result<u32, Refusal> {
///     let token = presented.token().ok_or(Refusal::new("a token is required"))?;
///     Ok(token.parse()?)
/// }
/// ```
pub struct Refusal {
    reason: Cow<'static, str>,
    source: Option<BoxError>,
}

/// The reason for the other side if this side has an error for its log only.
const NEUTRAL: &str = "the credentials were not accepted";

impl Refusal {
    /// A refusal for this reason, which the other side is told. A reason of more than 1,024 bytes is cut.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        let reason = reason.into();
        Self {
            reason: cut(reason),
            source: None,
        }
    }

    /// Adds the error behind it, for the log of this side.
    #[must_use = "returns the refusal with its source"]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The reason, which the other side is told.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The error behind it, for the log of this side.
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

impl From<Refusal> for ConnectionError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused {
            reason: refusal.reason.into_owned(),
            source: refusal.source.map(Arc::from),
        }
    }
}

/// How long a reason may be, in bytes: it has to fit into any close packet.
const MAX_REASON_BYTES: usize = 1024;

fn cut(mut reason: Cow<'static, str>) -> Cow<'static, str> {
    if reason.len() > MAX_REASON_BYTES {
        let end = (0..=MAX_REASON_BYTES)
            .rev()
            .find(|&end| reason.is_char_boundary(end));
        reason.to_mut().truncate(end.unwrap_or_default());
    }
    reason
}

impl<E: Error + Send + Sync + 'static> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::new(NEUTRAL).with_source(error)
    }
}

/// Prints the reason only.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Prints the reason, and the chain of sources.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match self.source() {
            Some(source) => write!(f, ": {}", ErrorChain(source)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{MAX_REASON_BYTES, Refusal};

    #[test]
    fn an_error_is_for_the_log_only() {
        let failed = || -> Result<(), Refusal> { Err(io::Error::other("the database is down"))? };
        let refusal = failed().unwrap_err();
        assert_eq!(refusal.to_string(), "the credentials were not accepted");
        let text = "the credentials were not accepted: the database is down";
        assert_eq!(format!("{refusal:?}"), text);
        assert_eq!(
            refusal.source().unwrap().to_string(),
            "the database is down"
        );
    }

    #[test]
    fn a_reason_has_a_limit_and_is_cut_between_characters() {
        let longest = "a".repeat(MAX_REASON_BYTES);
        assert_eq!(Refusal::new(longest.clone()).reason(), longest);
        let longer = format!("{}ä", &longest[1..]);
        assert_eq!(Refusal::new(longer).reason(), &longest[1..]);
    }
}
