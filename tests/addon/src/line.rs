//! The lines of the protocol: text to values and back.
//!
//! Nothing here does I/O, so that each line can be tested as a value. A line that cannot be read is
//! `None`: its connection is over then, since nothing tells what the rest means.

use std::{fmt, time::Duration};

use bytes::Bytes;
use wawo::{Code, Delivery, Status};

/// The longest line, in bytes without its end: a message of 30 KiB and a long name fit, and a caller that
/// sends no end of line takes no more memory than this.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// The longest time that a line gives a call: 49 days, as wawo's own packets do.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_millis(u32::MAX as u64);

/// The longest text of a status, in characters: the texts of wawo are far shorter.
const MAX_TEXT_CHARS: usize = 1000;

/// Names a call on its connection. Its caller chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CallNumber(pub(crate) u64);

/// A line that a caller sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallerLine {
    /// The first line: the name that the caller says it has.
    Hello(String),
    Call {
        number: CallNumber,
        /// The full name of the method, such as `chat.v1.Chat/Join`.
        path: String,
        /// The time that the call has left; `None` if it may last.
        timeout: Option<Duration>,
        message: Bytes,
    },
    /// A one-way message.
    Send {
        path: String,
        message: Bytes,
    },
    Cancel(CallNumber),
}

/// A line that a server sends.
#[derive(Debug)]
pub(crate) enum ServerLine {
    Answer(CallNumber, Answer),
    /// The connection is over, and why.
    Bye(String),
}

/// The line of a reply, or of the end of a call.
#[derive(Debug)]
pub(crate) enum Answer {
    Reply(Bytes),
    /// A stream of replies begins.
    Stream,
    Item(Bytes),
    End,
    /// The call, or its stream, ended with a status.
    Fail(Status),
}

impl CallerLine {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (verb, rest) = line.split_once(' ')?;
        Some(match verb {
            "i" => Self::Hello(rest.strip_prefix("am ")?.to_owned()),
            "call" => {
                let [number, path, timeout, message] = words(rest)?;
                Self::Call {
                    number: parse_number(number)?,
                    path: path.to_owned(),
                    timeout: parse_timeout(timeout)?,
                    message: parse_hex(message)?,
                }
            }
            "send" => {
                let [path, message] = words(rest)?;
                Self::Send {
                    path: path.to_owned(),
                    message: parse_hex(message)?,
                }
            }
            "cancel" => Self::Cancel(parse_number(rest)?),
            _ => return None,
        })
    }
}

impl ServerLine {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (verb, rest) = line.split_once(' ')?;
        if verb == "bye" {
            return Some(Self::Bye(rest.to_owned()));
        }
        let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let answer = match verb {
            "reply" => Answer::Reply(parse_hex(rest)?),
            "stream" => Answer::Stream,
            "item" => Answer::Item(parse_hex(rest)?),
            "end" => Answer::End,
            "fail" => Answer::Fail(parse_status(rest)?),
            "refuse" => {
                let status = parse_status(rest)?;
                Answer::Fail(status.with_delivery(Delivery::NotSent))
            }
            _ => return None,
        };
        Some(Self::Answer(parse_number(number)?, answer))
    }
}

impl Answer {
    /// Whether nothing of its call follows.
    pub(crate) fn is_last(&self) -> bool {
        matches!(self, Self::Reply(_) | Self::End | Self::Fail(_))
    }
}

impl fmt::Display for CallNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for CallerLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello(name) => write!(f, "i am {}", Text(name)),
            Self::Call {
                number,
                path,
                timeout,
                message,
            } => {
                write!(f, "call {number} {path} ")?;
                match timeout {
                    Some(timeout) => write!(f, "{}", timeout.as_millis())?,
                    None => f.write_str("-")?,
                }
                write!(f, " {message:x}")
            }
            Self::Send { path, message } => write!(f, "send {path} {message:x}"),
            Self::Cancel(number) => write!(f, "cancel {number}"),
        }
    }
}

impl fmt::Display for ServerLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, answer) = match self {
            Self::Bye(reason) => return write!(f, "bye {}", Text(reason)),
            Self::Answer(number, answer) => (number, answer),
        };
        match answer {
            Answer::Reply(message) => write!(f, "reply {number} {message:x}"),
            Answer::Stream => write!(f, "stream {number}"),
            Answer::Item(message) => write!(f, "item {number} {message:x}"),
            Answer::End => write!(f, "end {number}"),
            Answer::Fail(status) => {
                let verb = match status.is_safe_to_retry() {
                    true => "refuse",
                    false => "fail",
                };
                let (code, text) = (status.code().to_wire(), Text(status.message()));
                write!(f, "{verb} {number} {code} {text}")
            }
        }
    }
}

/// A text that others have written, in one line of a bounded length.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars().take(MAX_TEXT_CHARS);
        chars.try_for_each(|char| {
            let char = if char.is_control() { ' ' } else { char };
            fmt::Write::write_char(f, char)
        })
    }
}

/// Exactly `N` words, each with a space behind it but the last.
fn words<const N: usize>(text: &str) -> Option<[&str; N]> {
    let words: Vec<_> = text.splitn(N, ' ').collect();
    words.try_into().ok()
}

fn parse_number(text: &str) -> Option<CallNumber> {
    text.parse().ok().map(CallNumber)
}

/// In milliseconds, up to [`MAX_TIMEOUT`].
fn parse_timeout(text: &str) -> Option<Option<Duration>> {
    if text == "-" {
        return Some(None);
    }
    let millis: u32 = text.parse().ok()?;
    Some(Some(Duration::from_millis(millis.into())))
}

fn parse_status(text: &str) -> Option<Status> {
    let (code, text) = text.split_once(' ')?;
    let code = Code::from_wire(code.parse().ok()?);
    Some(Status::new(code, text.to_owned()))
}

fn parse_hex(text: &str) -> Option<Bytes> {
    let (digits, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    let bytes: Option<Vec<u8>> = digits.iter().map(byte).collect();
    bytes.filter(|_| rest.is_empty()).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use wawo::{Code, Status};

    use super::{Answer, CallNumber, CallerLine, MAX_TEXT_CHARS, ServerLine};

    #[test]
    fn lines_of_callers_are_read_as_they_were_written() {
        for line in [
            "i am ada lovelace",
            "call 7 chat.v1.Chat/Join 9000 0a03616461",
            "call 8 chat.v1.Chat/Join - ",
            "send chat.v1.Chat/Leave 0a",
            "cancel 7",
        ] {
            let parsed = CallerLine::parse(line).unwrap();
            assert_eq!(parsed.to_string(), line);
        }
    }

    #[test]
    fn lines_of_servers_are_read_as_they_were_written() {
        for line in [
            "reply 7 0801",
            "stream 8",
            "item 8 ",
            "end 8",
            "fail 7 5 no such room",
            "refuse 7 14 ",
            "bye the server drains",
        ] {
            let parsed = ServerLine::parse(line).unwrap();
            assert_eq!(parsed.to_string(), line);
        }
    }

    #[test]
    fn lines_of_no_meaning_are_none() {
        for line in [
            "",
            "call",
            "call 7 chat.v1.Chat/Join 9000",
            "call -7 chat.v1.Chat/Join - 00",
            "call 7 chat.v1.Chat/Join 4294967296 00",
            "call 7 chat.v1.Chat/Join - 0",
            "call 7 chat.v1.Chat/Join - +1",
            "call 7 chat.v1.Chat/Join - 0é",
            "cancel seven",
            "i was ada",
            "reply 7 00",
        ] {
            assert_eq!(CallerLine::parse(line), None, "{line}");
        }
        for line in [
            "",
            "reply",
            "reply 7 0",
            "fail 7 5",
            "fail 7 x y",
            "cancel 7",
        ] {
            assert!(ServerLine::parse(line).is_none(), "{line}");
        }
    }

    #[test]
    fn texts_of_others_stay_in_their_line_and_are_cut() {
        let text = format!("a\nreply 7 00\r{}", "x".repeat(MAX_TEXT_CHARS));
        let status = Status::new(Code::Aborted, text);
        let line = ServerLine::Answer(CallNumber(7), Answer::Fail(status)).to_string();
        assert!(line.starts_with("fail 7 10 a reply 7 00 xx"), "{line}");
        assert_eq!(line.len(), "fail 7 10 ".len() + MAX_TEXT_CHARS);
    }
}
