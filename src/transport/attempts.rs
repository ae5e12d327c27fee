//! The attempts of one connect, for an error that names each of them.

use std::{fmt, io};

/// The places that one connect has tried, in order, and how each attempt failed. They make the text of
/// the error when the connect timeout passes.
#[derive(Debug, Default)]
pub struct Attempts {
    list: Vec<Attempt>,
    progress: Progress,
}

/// How far a connect has come.
#[derive(Debug, Default, PartialEq, Eq)]
enum Progress {
    /// This side has to get its credentials first.
    BeforeCredentials,
    #[default]
    Connecting,
    /// An attempt has succeeded. The text says what is still missing, for a sentence.
    Connected(&'static str),
}

/// The place of an attempt at the address itself, which the error need not name again.
pub(crate) const ITSELF: &str = "";

#[derive(Debug)]
struct Attempt {
    place: String,
    /// The error; `None` while the attempt is under way.
    error: Option<io::Error>,
}

impl Attempts {
    /// Records that an attempt has succeeded: a later error is not about these attempts, but about what is
    /// still missing.
    pub(crate) fn connected(missing: &'static str) -> Self {
        Self {
            list: Vec::new(),
            progress: Progress::Connected(missing),
        }
    }

    /// Records that nothing was tried, because this side waits for its credentials.
    pub(crate) fn before_credentials() -> Self {
        Self {
            list: Vec::new(),
            progress: Progress::BeforeCredentials,
        }
    }

    /// Records that an attempt at a place, such as one of the IP addresses of a name, is under way.
    pub fn begin(&mut self, place: &impl ToString) {
        self.list.push(Attempt {
            place: place.to_string(),
            error: None,
        });
    }

    /// Records how the attempt at a place failed; it replaces an earlier error. A place that was not
    /// [begun](Self::begin) is ignored.
    pub fn fail(&mut self, place: &impl ToString, error: io::Error) {
        let place = place.to_string();
        if let Some(attempt) = self.list.iter_mut().find(|attempt| attempt.place == place) {
            attempt.error = Some(error);
        }
    }

    /// Takes the attempts, and makes one error of them, with the kind of the last one.
    pub fn into_error(mut self) -> io::Error {
        if let [attempt] = &mut self.list[..]
            && let Some(error) = attempt.error.take()
        {
            let text = format!("{}: {error}", attempt.place);
            return io::Error::new(error.kind(), text);
        }
        let mut errors = self
            .list
            .iter()
            .filter_map(|attempt| attempt.error.as_ref());
        let kind = errors
            .next_back()
            .map_or(io::ErrorKind::Other, io::Error::kind);
        io::Error::new(kind, self.to_string())
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.progress {
            Progress::BeforeCredentials => {
                return f.write_str("the provider of the credentials took all of the time");
            }
            Progress::Connected(missing) => {
                return write!(f, "the socket was connected, and {missing}");
            }
            Progress::Connecting => {}
        }
        if self.list.is_empty() {
            return f.write_str("the socket was not connected");
        }
        for (number, attempt) in self.list.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            f.write_str(separator)?;
            if attempt.place != ITSELF {
                write!(f, "{}: ", attempt.place)?;
            }
            match &attempt.error {
                Some(error) => write!(f, "{error}")?,
                None => f.write_str("no answer")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::Attempts;

    #[test]
    fn each_attempt_is_named_with_its_error() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.to_string(), "the socket was not connected");
        let connected = Attempts::connected("no hello came").to_string();
        assert_eq!(connected, "the socket was connected, and no hello came");
        for place in ["a:1", "b:1", "c:1"] {
            attempts.begin(&place);
        }
        attempts.fail(&"c:1", io::ErrorKind::ConnectionRefused.into());
        attempts.fail(&"a:1", io::ErrorKind::HostUnreachable.into());
        let text = "a:1: host unreachable, b:1: no answer, c:1: connection refused";
        assert_eq!(attempts.to_string(), text);
        let error = attempts.into_error();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(error.to_string(), text);
    }
}
