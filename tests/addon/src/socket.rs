//! A transport as two halves that carry lines of a bounded length.

use std::io;

use tokio::io::{ReadHalf, WriteHalf};
use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec, LinesCodecError};
use wawo::Transport;

use crate::line::MAX_LINE_BYTES;

/// Both halves of a socket, as lines.
pub(crate) struct Socket<T> {
    pub(crate) reads: Reads<T>,
    pub(crate) writes: Writes<T>,
}

pub(crate) type Reads<T> = FramedRead<ReadHalf<T>, LinesCodec>;
pub(crate) type Writes<T> = FramedWrite<WriteHalf<T>, LinesCodec>;

impl<T: Transport> Socket<T> {
    pub(crate) fn over(transport: T) -> Self {
        let (reads, writes) = tokio::io::split(transport);
        let lines = || LinesCodec::new_with_max_length(MAX_LINE_BYTES);
        Self {
            reads: FramedRead::new(reads, lines()),
            writes: FramedWrite::new(writes, lines()),
        }
    }
}

/// An error of a half, for those who hear how a connection ended.
pub(crate) fn into_io(error: LinesCodecError) -> io::Error {
    match error {
        LinesCodecError::Io(error) => error,
        too_long => io::Error::new(io::ErrorKind::InvalidData, too_long),
    }
}
