//! Small things that are kept, each read into the same buffer as much that is not.

use crate::{
    raw::Raw,
    wire::{
        ACT, END, END_OF, METADATA, NOTE, ONE_WAY, SAY, TALK, Wire, call, message, next, packet,
        stream_with, unary,
    },
};

/// As many as make the difference: with their buffers they would be 25 MiB.
const COUNT: u32 = 200;

/// Sends what is kept, each behind a full read of what is not: ends of a call that is over.
async fn between_fillers(raw: &mut Raw, kept: impl Fn(u32) -> Wire) {
    raw.send(unary(1, SAY, "hi")).await.unwrap();
    raw.replied(1).await;
    let ignored = packet(END_OF).call(1).u16(0).bytes(vec![0; 16_000]);
    let filler = ignored.build().repeat(9);
    for index in 0..COUNT {
        raw.send(filler.clone()).await.unwrap();
        raw.send(kept(index)).await.unwrap();
    }
    raw.goes_on().await;
}

/// Calls that wait for ever, with the smallest message.
pub(crate) async fn calls(raw: &mut Raw) {
    between_fillers(raw, |index| unary(2 * index + 3, ACT, "wait")).await;
}

/// The same, with the smallest metadata.
pub(crate) async fn calls_with_metadata(raw: &mut Raw) {
    between_fillers(raw, |index| {
        let call = call(2 * index + 3, ACT, END | METADATA);
        let call = call.u16(1).entry("k-bin", [index as u8]);
        call.bytes(message("wait"))
    })
    .await;
}

/// One-way calls that wait for ever.
pub(crate) async fn one_way_calls(raw: &mut Raw) {
    let wait = call(0, NOTE, END | ONE_WAY).bytes(message("wait"));
    between_fillers(raw, |_| wait.clone()).await;
}

/// Messages of a stream that is not read, just large enough not to be copied to its shelf.
pub(crate) async fn messages(raw: &mut Raw) {
    let hold = stream_with(3, TALK, ("do", "hold"));
    raw.send(unary(1, SAY, "hi")).await.unwrap();
    raw.replied(1).await;
    raw.send(hold).await.unwrap();
    let message = next(3, vec![7; 2 * 1024]);
    between_fillers(raw, |_| message.clone()).await;
}
