//! Small kept messages, each read into the same buffer as large ones that are dropped.

use crate::{
    raw::Raw,
    wire::{
        ACT, END, END_OF, METADATA, NOTE, ONE_WAY, SAY, TALK, Wire, call, message, next, packet,
        stream_with, unary,
    },
};

/// Enough to show the difference: with their buffers they would take 25 MiB.
const COUNT: u32 = 200;

/// Sends each kept packet behind a full read of dropped packets, which are ends of an ended call.
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

/// Makes calls that wait forever, with the smallest message.
pub(crate) async fn calls(raw: &mut Raw) {
    between_fillers(raw, |index| unary(2 * index + 3, ACT, "wait")).await;
}

/// The same with the smallest metadata.
pub(crate) async fn calls_with_metadata(raw: &mut Raw) {
    between_fillers(raw, |index| {
        let call = call(2 * index + 3, ACT, END | METADATA);
        let call = call.u16(1).entry("k-bin", [index as u8]);
        call.bytes(message("wait"))
    })
    .await;
}

/// Makes one-way calls that wait forever.
pub(crate) async fn one_way_calls(raw: &mut Raw) {
    let wait = call(0, NOTE, END | ONE_WAY).bytes(message("wait"));
    between_fillers(raw, |_| wait.clone()).await;
}

/// Sends messages of a stream that is not read, just too large to be copied out of the read buffer.
pub(crate) async fn messages(raw: &mut Raw) {
    let hold = stream_with(3, TALK, ("do", "hold"));
    raw.send(unary(1, SAY, "hi")).await.unwrap();
    raw.replied(1).await;
    raw.send(hold).await.unwrap();
    let message = next(3, vec![7; 2 * 1024]);
    between_fillers(raw, |_| message.clone()).await;
}
