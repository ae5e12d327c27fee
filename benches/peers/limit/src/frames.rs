//! Frames, and the preamble before them.

use anyhow::{Result, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use harness::{MAX_MESSAGE_BYTES, Workload};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Bytes on the wire of a frame with `size` bytes of payload.
pub(crate) const fn frame_bytes(size: usize) -> usize {
    HEAD_BYTES + size
}

/// `count` frames of `size` bytes of payload each.
pub(crate) fn block(count: usize, size: usize) -> Bytes {
    let mut block = BytesMut::with_capacity(count * frame_bytes(size));
    for _ in 0..count {
        block.put_u32(size as u32);
        block.put_bytes(b'w', size);
    }
    block.freeze()
}

/// The number of frames of `size` bytes of payload in a block that is worth its own write.
pub(crate) fn frames_per_block(size: usize) -> usize {
    (READ_BYTES / frame_bytes(size)).max(1)
}

/// The complete frames at the start of `buffer`.
///
/// # Errors
///
/// A frame is longer than the largest message.
pub(crate) fn whole_frames(buffer: &[u8]) -> Result<Whole> {
    let mut whole = Whole { count: 0, bytes: 0 };
    while let Some(head) = buffer[whole.bytes..].first_chunk() {
        let size = u32::from_be_bytes(*head) as usize;
        ensure!(size <= MAX_MESSAGE_BYTES, "a frame of {size} bytes");
        if buffer.len() - whole.bytes < frame_bytes(size) {
            break;
        }
        whole.count += 1;
        whole.bytes += frame_bytes(size);
    }
    Ok(whole)
}

/// Frames and their total number of bytes.
#[derive(Debug, PartialEq)]
pub(crate) struct Whole {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

/// Makes room in `buffer` for a large read, and for at least one frame of `size` bytes of payload.
/// Only when the buffer is used up, because each time moves the remaining bytes.
pub(crate) fn make_room(buffer: &mut BytesMut, size: usize) {
    if buffer.capacity() - buffer.len() < READ_BYTES / 2 {
        buffer.reserve(READ_BYTES.max(frame_bytes(size)));
    }
}

/// Sends the purpose of the connection.
pub(crate) async fn write_greeting(
    stream: &mut TcpStream,
    workload: Workload,
    size: usize,
) -> Result<()> {
    let mut greeting = BytesMut::new();
    greeting.put_u8(mode(workload));
    greeting.put_u32(size as u32);
    Ok(stream.write_all(&greeting).await?)
}

/// The purpose of a connection and the payload size; `None` if the connection ended before.
pub(crate) async fn read_greeting(stream: &mut TcpStream) -> Result<Option<(Workload, usize)>> {
    let mut greeting = [0; 5];
    if stream.read_exact(&mut greeting).await.is_err() {
        return Ok(None);
    }
    let mut greeting = &greeting[..];
    let found = greeting.get_u8();
    let known = [Workload::Unary, Workload::OneWay, Workload::Stream];
    let workload = known.into_iter().find(|known| mode(*known) == found);
    let size = greeting.get_u32() as usize;
    ensure!(
        size <= MAX_MESSAGE_BYTES,
        "frames of {size} bytes are asked for"
    );
    Ok(workload.map(|workload| (workload, size)))
}

/// An idle connection makes one call first.
const fn mode(workload: Workload) -> u8 {
    match workload {
        Workload::Idle => Workload::Unary as u8,
        workload => workload as u8,
    }
}

const HEAD_BYTES: usize = 4;
/// The minimum number of bytes to read, and to write in blocks.
const READ_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::{Whole, block, whole_frames};

    #[test]
    fn only_whole_frames_count() {
        let block = block(3, 10);
        assert_eq!(
            whole_frames(&block).unwrap(),
            Whole {
                count: 3,
                bytes: 42
            }
        );
        assert_eq!(
            whole_frames(&block[..41]).unwrap(),
            Whole {
                count: 2,
                bytes: 28
            }
        );
        assert_eq!(
            whole_frames(&block[..3]).unwrap(),
            Whole { count: 0, bytes: 0 }
        );
    }

    #[test]
    fn a_frame_without_bounds_is_refused() {
        assert!(whole_frames(&[0xff; 8]).is_err());
    }
}
