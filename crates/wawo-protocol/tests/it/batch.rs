//! Batches of the messages of a stream, as drivers build and read them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BufMut;
use wawo_protocol::packet::BatchBuilder;

use crate::raw::ours;

#[test]
fn messages_come_back_as_they_were_put_in() {
    let mut builder = BatchBuilder::new(ours(3));
    for text in ["one", "", "three"] {
        builder.push(|buffer| buffer.put_slice(text.as_bytes()));
    }
    assert_eq!(
        (builder.messages(), builder.packet_bytes()),
        (3, 3 * 12 + 8)
    );
    let messages = builder.take();
    assert_eq!((messages.message_bytes(), messages.largest()), (8, 5));
    assert_eq!(builder.messages(), 0);
    for length in [0, 1000] {
        let messages = messages.clone().unshared_below(length);
        assert_eq!(messages.len(), 3);
        let all: Vec<_> = messages.collect();
        assert_eq!(all, ["one", "", "three"]);
    }
}

#[test]
fn a_message_whose_encoder_panics_leaves_nothing_behind() {
    let mut builder = BatchBuilder::new(ours(0));
    builder.push(|buffer| buffer.put_slice(b"one"));
    let torn = catch_unwind(AssertUnwindSafe(|| {
        builder.push(|buffer| {
            buffer.put_slice(b"half");
            panic!("as it should");
        });
    }));
    assert!(torn.is_err());
    let all: Vec<_> = builder.take().collect();
    assert_eq!(all, ["one"]);
}
