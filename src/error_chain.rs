//! Prints an error with its chain of causes in one line, for the person who runs a program.

use std::{error::Error, fmt};

/// Displays an error and its causes. A cause that an error has in its own text is not repeated.
pub(crate) struct ErrorChain<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut next = self.0.source();
        while let Some(cause) = next {
            let of_cause = cause.to_string();
            if !text.ends_with(&of_cause) {
                text = format!("{text}: {of_cause}");
            }
            next = cause.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use thiserror::Error;

    use super::ErrorChain;

    #[derive(Debug, Error)]
    enum Failed {
        #[error("the peer is gone")]
        Gone(#[source] io::Error),
        #[error("not sent: {0}")]
        NotSent(#[source] Box<Self>),
    }

    #[test]
    fn a_cause_that_the_error_tells_is_not_told_again() {
        let gone = Failed::Gone(io::Error::other("a cut"));
        assert_eq!(ErrorChain(&gone).to_string(), "the peer is gone: a cut");
        let not_sent = Failed::NotSent(Box::new(gone));
        let text = "not sent: the peer is gone: a cut";
        assert_eq!(ErrorChain(&not_sent).to_string(), text);
    }
}
