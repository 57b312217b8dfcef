//! Request bodies: framed bytes in, data out, exactly up to the body's end.

use bytes::{Bytes, BytesMut};

use super::chunked::Chunked;
use super::framing::Framing;

/// Decodes one request body.
#[derive(Debug, Clone)]
pub struct BodyDecoder(State);

#[derive(Debug, Clone)]
enum State {
    Length(u64),
    Chunked(Chunked),
}

/// What a buffer held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Data, never empty, no longer than the buffer.
    Data(Bytes),
    /// Nothing yet: more bytes are needed.
    More,
    /// The body is over; what is left in the buffer is the next request's.
    End,
}

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// Not one to sixteen hexadecimal digits, then `;` or CRLF.
    #[error("malformed chunk size")]
    Size,
    /// A chunk extension with a byte that may not be there.
    #[error("malformed chunk extension")]
    Extension,
    /// CR without LF, LF without CR, or no CRLF after a chunk.
    #[error("malformed line end in a chunked body")]
    LineEnd,
    /// A trailer that is no field.
    #[error("malformed trailer")]
    Trailer,
    /// Beyond `limits::MAX_CHUNK_OVERHEAD`.
    #[error("too much framing for the data of a chunked body")]
    Overhead,
}

impl DecodeFault {
    /// A fixed word for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Size => "chunk_size",
            Self::Extension => "chunk_extension",
            Self::LineEnd => "chunk_line_end",
            Self::Trailer => "trailer",
            Self::Overhead => "chunk_overhead",
        }
    }
}

impl BodyDecoder {
    /// For a body of this framing.
    pub fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::None => State::Length(0),
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked::default()),
        })
    }

    /// Bytes that are still to come, where known.
    pub fn remaining(&self) -> Option<u64> {
        match &self.0 {
            State::Length(left) => Some(*left),
            State::Chunked(chunked) => chunked.is_over().then_some(0),
        }
    }

    /// Takes what it can from the front of `buffer`. After a fault it must not be asked again.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Piece, DecodeFault> {
        match &mut self.0 {
            State::Length(0) => Ok(Piece::End),
            State::Length(left) => Ok(take(left, buffer)),
            State::Chunked(chunked) => chunked.decode(buffer),
        }
    }
}

/// Up to `left` bytes from the front of `buffer`.
pub(super) fn take(left: &mut u64, buffer: &mut BytesMut) -> Piece {
    let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    if most == 0 {
        return Piece::More;
    }
    let data = buffer.split_to(most).freeze();
    *left -= data.len() as u64;
    Piece::Data(data)
}
