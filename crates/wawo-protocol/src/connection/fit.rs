//! Keeps messages, metadata and statuses within the limits of the other side.
//!
//! A message that does not fit is refused. A status must always arrive, so those of its parts that
//! do not fit are left out, and its text says so.

use bytes::Bytes;

use crate::{
    connection::refusal::Refusal,
    limits::Limits,
    metadata::Metadata,
    packet::{End, mark},
};

/// The longest text of a status, in bytes, with the mark that it was cut: the smallest packet that
/// a side may allow (16 KiB) has ample room for it.
const MAX_TEXT_BYTES: usize = 4096;

/// Checks that a message with its metadata keeps the limits of the other side.
pub(crate) fn check(length: usize, metadata: &Metadata, limits: &Limits) -> Result<(), Refusal> {
    let max = limits.max_message_bytes;
    if length > max as usize {
        return Err(Refusal::MessageTooLarge { length, max });
    }
    check_metadata(metadata, limits)
}

fn check_metadata(metadata: &Metadata, limits: &Limits) -> Result<(), Refusal> {
    let (entries, bytes) = (metadata.len(), metadata.block_bytes());
    let (max_entries, max_bytes) = (limits.max_metadata_entries, limits.max_metadata_bytes);
    if entries > max_entries as usize || bytes > max_bytes as usize {
        return Err(Refusal::MetadataTooLarge {
            entries,
            bytes,
            max_entries,
            max_bytes,
        });
    }
    Ok(())
}

/// Cuts an end to the limits of the other side. `room` returns the bytes that a packet has room for
/// beside metadata of a given length.
pub(crate) fn fit(end: &mut End, limits: &Limits, room: impl Fn(usize) -> usize) {
    let room_beside = |metadata: &Metadata| room(metadata.block_bytes());
    let mut lost = Vec::new();
    let metadata = &end.metadata;
    if check_metadata(metadata, limits).is_err() || room_beside(metadata) < MAX_TEXT_BYTES {
        let (entries, bytes) = (metadata.len(), metadata.block_bytes());
        let entries = match entries {
            1 => "1 entry".to_owned(),
            entries => format!("{entries} entries"),
        };
        lost.push(format!("{entries} of metadata with {bytes} bytes"));
        end.metadata = Metadata::new();
    }
    // Details that do not fit beside the longest text are left out, so that the text has room to
    // say so.
    let text = end.text.len().min(MAX_TEXT_BYTES);
    let needs = match lost.is_empty() {
        true => text,
        false => MAX_TEXT_BYTES,
    };
    if !end.details.is_empty() && needs + end.details.len() > room_beside(&end.metadata) {
        lost.push(format!("details with {} bytes", end.details.len()));
        end.details = Bytes::new();
    }
    mark(&mut end.text, &lost, MAX_TEXT_BYTES);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{MAX_TEXT_BYTES, fit};
    use crate::{
        code::Code,
        id::{CallId, Side},
        limits::{Limits, MIN_PACKET_BYTES},
        metadata::Metadata,
        packet::End,
    };

    fn end(text: &str, metadata: Metadata, details: usize) -> End {
        let mut end = End {
            call: CallId::new(Side::Connecting, 0),
            code: Code::NotFound,
            refused: false,
            metadata,
            text: text.to_owned(),
            details: Bytes::from(vec![0; details]),
        };
        let room = |metadata| MIN_PACKET_BYTES as usize - 16 - metadata;
        fit(&mut end, &Limits::MINIMUM, room);
        assert!(end.text.len() <= MAX_TEXT_BYTES);
        end
    }

    fn entries(count: usize, bytes: usize) -> Metadata {
        let mut metadata = Metadata::new();
        for _ in 0..count {
            metadata.append("key", "v".repeat(bytes)).unwrap();
        }
        metadata
    }

    #[test]
    fn a_status_that_fits_is_left_as_it_is() {
        let longest = "é".repeat(MAX_TEXT_BYTES / 2);
        for text in ["", "no such room", &*longest] {
            let end = end(text, entries(64, 100), 1_000);
            assert_eq!((&*end.text, end.metadata.len()), (text, 64));
            assert_eq!(end.details.len(), 1_000);
        }
    }

    #[test]
    fn a_text_that_is_cut_says_so_and_ends_between_characters() {
        for more in 1..4 {
            let text = format!("{}é", "x".repeat(MAX_TEXT_BYTES - 2 + more));
            let end = end(&text, Metadata::new(), 0);
            let mark = format!("x… [cut: a text with {} bytes]", text.len());
            assert!(end.text.ends_with(&mark), "{}", end.text);
        }
        for at in 0..3 {
            let text = format!("{}{}", "x".repeat(at), "€".repeat(MAX_TEXT_BYTES));
            assert!(end(&text, Metadata::new(), 0).text.contains("€… [cut"));
        }
    }

    #[test]
    fn metadata_and_details_that_are_left_out_are_told_in_the_text() {
        let many = end("no", entries(65, 1), 0);
        let text = "no [left out: 65 entries of metadata with 457 bytes]";
        assert_eq!((&*many.text, many.metadata.len()), (text, 0));
        let large = end("no", entries(1, 8_190), 10);
        let text = "no [left out: 1 entry of metadata with 8198 bytes]";
        assert_eq!((&*large.text, large.details.len()), (text, 10));
        let details = end("no", entries(1, 1), 70_000);
        let text = "no [left out: details with 70000 bytes]";
        assert_eq!((&*details.text, details.metadata.len()), (text, 1));
        assert!(details.details.is_empty());
        let all = end(&"x".repeat(9_000), entries(65, 1), 70_000);
        let mark = "x… [cut: a text with 9000 bytes] \
                    [left out: 65 entries of metadata with 457 bytes, details with 70000 bytes]";
        assert!(all.text.ends_with(mark), "{}", all.text);
    }

    #[test]
    fn a_mark_that_makes_a_text_too_long_cuts_that_too() {
        let all = end(&"x".repeat(MAX_TEXT_BYTES), entries(65, 1), 0);
        assert!(all.text.contains("[cut: a text with 4096 bytes] [left"));
    }
}
