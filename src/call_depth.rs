//! The call depth: how many calls led to a call. Its limit stops peers that call each other in a circle.
//!
//! The depth travels as metadata, under a key that applications do not see. Only calls that handlers make
//! carry it.

use std::cell::Cell;

use wawo_protocol::Metadata;

use crate::status::{Delivery, Result, Status};

const KEY: &str = "wawo-depth";

thread_local! {
    static AWAITED: Cell<u32> = const { Cell::new(0) };
}

/// Runs a function that polls the readiness of a service for a call at this depth. tower's `poll_ready`
/// does not get the call, and calls of different depths wait for different things.
pub(crate) fn scope<R>(depth: u32, ask: impl FnOnce() -> R) -> R {
    let _reset = Reset(AWAITED.replace(depth));
    ask()
}

/// The depth of the call for which readiness is polled; 0 if it is not known.
pub(crate) fn awaited() -> u32 {
    AWAITED.get()
}

struct Reset(u32);

impl Drop for Reset {
    fn drop(&mut self) {
        AWAITED.set(self.0);
    }
}

/// Adds the depth to the metadata of a call, if there is any.
pub(crate) fn put(depth: u32, metadata: &mut Metadata) {
    if depth > 0 {
        // Metadata may hold any number as text.
        let _ = metadata.append(KEY, depth.to_string());
    }
}

/// Takes the depth out of the metadata of a call; `None` if it is not there.
///
/// # Errors
///
/// If it is not a number.
pub(crate) fn take(metadata: &mut Metadata) -> Result<Option<u32>> {
    let Some(value) = metadata.remove(KEY) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&value);
    match parse(&text) {
        Some(depth) => Ok(Some(depth)),
        None => Err(Status::invalid_argument(format!(
            "the metadata `{KEY}` is {text:?}, which is no number"
        ))),
    }
}

/// The depth in the metadata of a call; 0 if there is none, or no number.
pub(crate) fn peek(metadata: &Metadata) -> u32 {
    metadata.text(KEY).and_then(parse).unwrap_or(0)
}

fn parse(text: &str) -> Option<u32> {
    // `str::parse` takes a sign, too.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// Whether a call may be made at this depth.
///
/// # Errors
///
/// If it is above the limit.
pub(crate) fn check(depth: u32, max: u32) -> Result<()> {
    if depth <= max {
        return Ok(());
    }
    let text = format!(
        "{depth} calls led to this one, each made by the handler of the one before; \
         at most {max} may (max_call_depth)"
    );
    let status = Status::resource_exhausted(text).with_limit("max_call_depth");
    Err(status.with_delivery(Delivery::NotSent))
}

#[cfg(test)]
mod tests {
    use wawo_protocol::{Code, Metadata};

    use super::{KEY, awaited, check, peek, put, scope, take};

    #[test]
    fn a_depth_comes_back_as_it_was_and_leaves_no_trace() {
        let mut metadata = Metadata::new();
        put(0, &mut metadata);
        assert!(metadata.is_empty());
        assert_eq!(take(&mut metadata).unwrap(), None);
        assert_eq!(peek(&metadata), 0);
        put(16, &mut metadata);
        assert_eq!(peek(&metadata), 16);
        assert_eq!(take(&mut metadata).unwrap(), Some(16));
        assert!(metadata.is_empty());
    }

    #[test]
    fn a_depth_is_known_while_a_service_is_asked() {
        let asked = || (awaited(), scope(3, awaited), awaited());
        assert_eq!(scope(2, asked), (2, 3, 2));
        assert_eq!(awaited(), 0);
    }

    #[test]
    fn one_above_the_limit_and_what_is_no_number_are_refused() {
        let mut metadata = Metadata::new();
        assert!(check(16, 16).is_ok());
        let status = check(17, 16).unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("17 calls"), "{status}");
        for wrong in ["-1", "+1", "deep", "4294967296", ""] {
            metadata.append(KEY, wrong).unwrap();
            assert_eq!(peek(&metadata), 0, "{wrong}");
            let status = take(&mut metadata).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{wrong}");
        }
    }
}
