//! The trace of a call, as the W3C recommendation "Trace Context" puts it into metadata.

use std::fmt;

use wawo_protocol::Metadata;

/// The metadata key of the trace.
const TRACEPARENT: &str = "traceparent";

/// The trace that a call belongs to, and the span that caused it: the contents of `traceparent`.
/// `Display` prints that header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TraceContext {
    /// The id of the trace; never all zeros.
    pub trace_id: [u8; 16],
    /// The id of the span; never all zeros.
    pub span_id: [u8; 8],
    /// The flags; bit 0 says that the trace is sampled.
    pub flags: u8,
}

impl TraceContext {
    /// The context with these ids. `None` if one is all zeros, which the recommendation forbids.
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8], is_sampled: bool) -> Option<Self> {
        let is_valid = trace_id != [0; 16] && span_id != [0; 8];
        is_valid.then_some(Self {
            trace_id,
            span_id,
            flags: u8::from(is_sampled),
        })
    }

    /// The context in the metadata of a call. `None` if there is none, or none that can be read: then the
    /// call is treated as one without, as the recommendation says.
    pub fn of(metadata: &Metadata) -> Option<Self> {
        Self::parse(metadata.text(TRACEPARENT)?)
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// Reads `00-<trace id>-<span id>-<flags>`. Later versions may have more parts behind these.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = hex::<1>(parts.next()?)?[0];
        let (trace_id, span_id) = (hex(parts.next()?)?, hex(parts.next()?)?);
        let flags = hex::<1>(parts.next()?)?[0];
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let context = Self::new(trace_id, span_id, false)?;
        Some(Self { flags, ..context })
    }
}

/// Bytes in lower case hexadecimal digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace_id = u128::from_be_bytes(self.trace_id);
        let span_id = u64::from_be_bytes(self.span_id);
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{:02x}", self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::TraceContext;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_is_read_and_written() {
        let context = TraceContext::parse(HEADER).unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.to_string(), HEADER);
        let later = TraceContext::parse(&format!("{}-more", HEADER.replacen("00", "01", 1)));
        assert_eq!(later, Some(context));
    }

    #[test]
    fn a_header_that_is_wrong_is_no_context() {
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let no_span = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let more = format!("{HEADER}-more");
        let upper = HEADER.replace('f', "F");
        let version = HEADER.replacen("00", "ff", 1);
        for text in ["", "00", "00-é", zeros, no_span, &more, &upper, &version] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }
}
